"""Run the command line as ``python -m approxhw``."""

from approxhw.cli.main import main

main(prog_name="approxhw")

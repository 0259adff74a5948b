"""A kernel that was compiled before any kernel's source changed is compiled anew."""

import os

from approxhw.common.kernel_cache import forget_stale


def test_indexes_older_than_the_newest_source_are_forgotten(tmp_path):
    cache = tmp_path / "__pycache__"
    cache.mkdir()
    for name, time in (("a.py", 100), ("b.py", 300)):
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (time, time))
    for name, time in (("a.f.nbi", 200), ("a.g.nbi", 400), ("a.f.1.nbc", 200)):
        (cache / name).write_text("")
        os.utime(cache / name, (time, time))
    assert forget_stale(tmp_path) == 1
    assert sorted(path.name for path in cache.iterdir()) == ["a.f.1.nbc", "a.g.nbi"]
    assert forget_stale(tmp_path) == 0
    assert forget_stale(tmp_path / "nowhere") == 0

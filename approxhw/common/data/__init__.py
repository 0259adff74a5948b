"""Rows and arrays of users: npz, npy and csv files, read with limits, and data sets made of them."""

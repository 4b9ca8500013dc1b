"""What the History page is made of: charts on one time axis, marks, shares, energy."""

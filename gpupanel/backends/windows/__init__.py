"""What the Windows backend stands on: PDH, D3DKMT, Plug and Play."""

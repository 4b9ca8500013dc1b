"""Who is mining: evidence in, verdict out."""

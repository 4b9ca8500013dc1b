"""Who is mining: evidence in, verdict out.

Families of evidence are pure functions over facts. ``reading`` alone looks at the system, and it
looks only at processes that use a GPU. Nothing is sniffed, asked or sent.
"""

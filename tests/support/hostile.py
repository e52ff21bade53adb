"""Names that a stranger may have given."""

HOSTILE = [
    "[INST]", "[/INST]", "[bold]x[/]", "[/]", "[link=file:///etc/passwd]x[/link]", ":smile:", "\x1b]0;title\x07",
    "\x1b[31mred", "\x9b31m", "\r\rover", "back\b\b", "null\x00", "bell\x07", "\u202egnp.exe", "\u2066x\u2069", "\u2028",
    "\ufeffmark", "\U000e0041tag", "<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "{{ 7*7 }}", "{0}",
    "%s%n", "</pre></style>", "&lt;b&gt;", "javascript:alert(1)",
]  # fmt: skip
"""Names that a stranger may have given: to classes, files, columns, samples."""

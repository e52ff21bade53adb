"""What every benchmark shares: rows that resume, the command line, data sets, and the page.

A benchmark is a script, or a folder with ``__main__.py``, of this shape::

    ROWS = Rows("mine.jsonl", key=("regime", "seed", "arm"))      # benchmarks/results/mine.jsonl

    def run_seed(asked, seed):
        for arm in ARMS:
            if not ROWS.have(regime="trec", seed=seed, arm=arm):   # what is there is not made again
                ROWS.add({"regime": "trec", "seed": seed, "arm": arm, "accuracy": train(...), "machine": machine()})

    def page():
        return [HEAD, *markdown_table(("arm", "accuracy"), cells_of(ROWS.read()))]

    if __name__ == "__main__":
        parser = parser_of(__doc__, seeds=5)                       # --data, --seeds, --threads, --write
        parser.add_argument("--part", choices=PARTS)
        run_seeds(parser, run_seed, lambda: write_page("results-mine.md", page()))

Rows lie in JSON lines where they hold nested values, in Parquet where they are flat. Several processes may add at a time.
``--write`` makes the page of the rows alone: so a page is never edited.
"""

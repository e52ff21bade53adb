from gradsift.progress import Bar, progress


def test_a_bar_appears_only_after_its_patience(capsys):
    with progress("quick work", 3) as bar:
        bar.advance(3)
    assert capsys.readouterr().err == ""


def test_a_bar_shows_what_rate_and_time_left(capsys):
    bar = Bar("slow work", 10, "samples", show=True, patience=0.0)
    bar.advance(4)
    assert bar._progress is not None
    task = bar._progress.tasks[0]
    assert (task.completed, task.total) == (4, 10)
    assert "samples/s" in task.fields["rate"]
    bar.close()


def test_a_hidden_bar_stays_hidden(capsys):
    bar = Bar("work", 10, "samples", show=False, patience=0.0)
    bar.advance(4)
    assert bar._progress is None
    bar.close()
    assert capsys.readouterr().err == ""

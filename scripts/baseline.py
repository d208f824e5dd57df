#!/usr/bin/env python3
"""The usual baseline, on the same data and splits as `moksori eval --leave-out`.

Character 2- to 5-grams, TF-IDF, a linear SVM (scikit-learn). Makes its own environment at the first run:
    scripts/baseline.py [rules] [--json]
"""

import gzip
import json
import os
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

PLACE = Path(tempfile.gettempdir()) / "moksori-baseline"


def in_environment():
    """Runs this script again where scikit-learn is installed."""
    python = PLACE / "bin" / "python"
    if not (PLACE / "ready").exists():
        venv.create(PLACE, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "scikit-learn==1.9.1"], check=True)
        (PLACE / "ready").touch()
    os.execv(python, [str(python), __file__, *sys.argv[1:]])


def lines(path):
    opened = gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else open(path, encoding="utf-8")
    with opened as file:
        return [json.loads(line) for line in file if line.strip()]


def load(rules):
    """All texts as (source, lang, label, text, the source's label, the label that was read), without what is held out and
    without twins."""
    sources = tomllib.loads((rules / "public" / "sources.toml").read_text(encoding="utf-8"))
    held, kept = [], []
    for lang in ("ko", "en"):
        for path in sorted((rules / "corpus" / lang).glob("*.jsonl")):
            target = held if path.stem in sources["corpus"]["held_out"] else kept
            target += [(f"corpus/{path.stem}", lang, row["label"], row["text"], row["label"], None) for row in lines(path)]
    for path in sorted((rules / "public").glob("*.jsonl.gz")):
        name = path.name.split(".")[0]
        target = held if sources["source"][name].get("held_out") else kept
        for row in lines(path):
            own, read = row.get("label"), row.get("read")
            label = own if sources["source"][name].get("judge_only") else read or own
            target.append((name, row["lang"], label, row["text"], own, read))
    def key(text):
        return " ".join(text.lower().split())
    known = {key(row[3]) for row in held}
    unique = []
    for row in kept:
        if key(row[3]) not in known:
            known.add(key(row[3]))
            unique.append(row)
    return unique, held


def groups(rows):
    """What is left out together: each public source, and the trades in three groups, as the program does."""
    names = sorted({row[0] for row in rows})
    trades = [name for name in names if name.startswith("corpus/")]
    return [{name} for name in names if not name.startswith("corpus/")] + [set(trades[part::3]) for part in range(3)]


def main():
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.metrics import accuracy_score, f1_score
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    arguments = [argument for argument in sys.argv[1:] if argument != "--json"]
    kept, held = load(Path(arguments[0] if arguments else "rules"))
    table = {}

    def score(model, tests):
        # By the source's labels, then by those that were read.
        sets = {(row[0], column) for row in tests for column in (4, 5) if row[column]}
        for name, column in sorted(sets):
            rows = [row for row in tests if row[0] == name and row[column]]
            name += ", read" if column == 5 else ""
            truth, said = [row[column] for row in rows], model.predict([row[3] for row in rows])
            macro = f1_score(truth, said, labels=sorted(set(truth)), average="macro", zero_division=0)
            row = {"texts": len(rows), "accuracy": round(accuracy_score(truth, said), 3), "macro_f1": round(macro, 3)}
            table[f"{rows[0][1]} {name}"] = row
            if "--json" not in sys.argv:
                print(f"{rows[0][1]} {name:28} {row['texts']:6} {row['accuracy']:9.3f} {row['macro_f1']:9.3f}", flush=True)

    def fit(rows):
        model = make_pipeline(TfidfVectorizer(analyzer="char", ngram_range=(2, 5), min_df=2, sublinear_tf=True), LinearSVC())
        return model.fit([row[3] for row in rows], [row[2] for row in rows])

    for lang in ("ko", "en"):
        mine = [row for row in kept if row[1] == lang]
        for group in groups(mine):
            score(fit([row for row in mine if row[0] not in group]), [row for row in mine if row[0] in group])
        unseen = [row for row in held if row[1] == lang]
        if unseen:
            score(fit(mine), unseen)
    if "--json" in sys.argv:
        print(json.dumps(table, ensure_ascii=False, indent=1))


if __name__ == "__main__":
    try:
        import sklearn  # noqa: F401
    except ModuleNotFoundError:
        in_environment()
    main()

#!/usr/bin/env python3
"""What a team would use instead, on the same texts and processor: fastText, and the rules as a set of RE2.

Makes its own environment at the first run: scripts/classify_peers.py [rules] [--patterns FILE]
FILE has lines of label, tab, regex. Run it in the same minutes as `cargo bench --bench classify`.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import tomllib
import venv
from pathlib import Path

PLACE = Path(tempfile.gettempdir()) / "moksori-classify-peers"


def in_environment():
    """Runs this script again where both libraries are installed."""
    python = PLACE / "bin" / "python"
    if not (PLACE / "ready").exists():
        venv.create(PLACE, with_pip=True)
        packages = ["fasttext-community==0.11.9", "google-re2==1.1.20251105", "numpy"]
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
        (PLACE / "ready").touch()
    os.execv(python, [str(python), __file__, *sys.argv[1:]])


def per_cpu_second(judge, texts):
    """Texts by processor time: the first time they are seen, and when they come again for three seconds."""
    begun = time.process_time()
    for text in texts:
        judge(text)
    first = round(len(texts) / (time.process_time() - begun))
    begun, judged = time.process_time(), 0
    while True:
        for text in texts:
            judge(text)
        judged += len(texts)
        spent = time.process_time() - begun
        if spent >= 3:
            return {"first": first, "again": round(judged / spent)}


def literal_patterns(rules):
    """The regexes and literals of the rule files, as far as RE2 reads them."""
    patterns = []
    for path in sorted((rules / "classify").glob("*.toml")):
        for rule in tomllib.loads(path.read_text(encoding="utf-8"))["rule"]:
            literals = [literal for literal in rule.get("any", [])]
            if literals:
                patterns.append("|".join(re2.escape(literal) for literal in literals))
            elif "regex" in rule:
                patterns.append(rule["regex"])
    return patterns


def main():
    import fasttext

    arguments = sys.argv[1:]
    chosen = arguments.pop(arguments.index("--patterns") + 1) if "--patterns" in arguments else None
    rules = Path(next((argument for argument in arguments if not argument.startswith("--")), "rules"))
    posts, texts = [], []
    for path in sorted(rules.glob("corpus/*/*.jsonl")):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        texts += [row["text"] for row in rows]
        posts += [row for row in rows if path.stem != "telecom"]
    flat = [" ".join(text.lower().split()) for text in texts]
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        file.writelines(f"__label__{row['label']} {' '.join(row['text'].lower().split())}\n" for row in posts)
        file.flush()
        options = {"dim": 32, "epoch": 8, "lr": 0.5, "minn": 2, "maxn": 4, "bucket": 200_000, "thread": 1, "verbose": 0}
        model = fasttext.train_supervised(file.name, **options)
    # What RE2 has by default is too little for these rules: it would forget and start again with every text.
    memory = re2.Options()
    memory.max_mem = 512 << 20
    regexes = re2.Set.SearchSet(memory)
    lines = Path(chosen).read_text(encoding="utf-8").splitlines() if chosen else None
    patterns = [line.split("\t", 1)[1] for line in lines if line.strip()] if lines else literal_patterns(rules)
    refused = 0
    for pattern in patterns:
        try:
            regexes.Add(f"(?i){pattern}")
        except re2.error:
            refused += 1
    regexes.Compile()

    def both(text):
        regexes.Match(text)
        model.predict(text)
    figures = {
        "texts": len(texts),
        "patterns": len(patterns) - refused,
        "fasttext_per_cpu_second": per_cpu_second(model.predict, flat)["again"],
        "both_per_cpu_second": per_cpu_second(both, flat),
        "re2_set_per_cpu_second": per_cpu_second(regexes.Match, flat)["again"],
    }
    assert any(regexes.Match(text) for text in flat), "the set finds nothing"
    print(json.dumps(figures))


if __name__ == "__main__":
    try:
        import fasttext  # noqa: F401
        import re2
    except ModuleNotFoundError:
        in_environment()
    main()

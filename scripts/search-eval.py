#!/usr/bin/env python3
"""Recall and precision of `moksori search-eval` over tests/search, by kind of query and half, as the table of docs/search.md.

    python3 scripts/search-eval.py PROGRAM      (make search-eval builds the program first)
"""
import collections, gzip, json, os, subprocess, sys, tempfile

HOME = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tests/search")
rows = [json.loads(line) for line in gzip.open(f"{HOME}/rows.jsonl.gz", "rt")]
judged = {}
for line in gzip.open(f"{HOME}/judgments.jsonl.gz", "rt"):
    each = json.loads(line)
    judged[each["query_id"]] = set(each["doc_ids"])


def substring(query):
    words = [query.strip('"')] if query.startswith('"') else query.split()
    return {row["id"] for row in rows if all(word.lower() in row["text"].lower() for word in words)}


with tempfile.TemporaryDirectory() as place:
    docs, queries = f"{place}/docs.jsonl", f"{place}/queries.jsonl"
    with open(docs, "w") as file:
        file.writelines(json.dumps({"id": row["id"], "text": row["text"]}) + "\n" for row in rows)
    halves = {half: [json.loads(line) for line in open(f"{HOME}/queries-{half}.jsonl")] for half in ("first", "second")}
    asked = halves["first"] + halves["second"]
    with open(queries, "w") as file:
        file.writelines(json.dumps({"id": each["id"], "query": each["query"]}) + "\n" for each in asked)
    found = {"substring": {each["id"]: substring(each["query"]) for each in asked}}
    for engine in ("default", "pairs", "moksori"):
        out = subprocess.run([sys.argv[1], "search-eval", docs, queries, "--engine", engine], check=True, capture_output=True, text=True)
        answers = map(json.loads, out.stdout.splitlines())
        found[engine] = {each["query_id"]: set(each["doc_ids"]) for each in answers}

print("| half | kind | queries | substring | default words | pairs | moksori |\n|---|---|---|---|---|---|---|")
for half, asked in halves.items():
    kinds = collections.defaultdict(list)
    for each in asked:
        if judged[each["id"]]:
            kinds[each["kind"]].append(each["id"])
            kinds["**all**"].append(each["id"])
    for kind, ids in kinds.items():
        cells = []
        for engine in ("substring", "default", "pairs", "moksori"):
            hits = {each: len(judged[each] & found[engine][each]) for each in ids}
            recall = sum(hits[each] / len(judged[each]) for each in ids) / len(ids)
            answered = [each for each in ids if found[engine][each]]
            precision = sum(hits[each] / len(found[engine][each]) for each in answered) / max(1, len(answered))
            cells.append(f"{recall:.3f} / {precision:.3f}")
        print(f"| {half} | {kind} | {len(ids)} | " + " | ".join(cells) + " |")

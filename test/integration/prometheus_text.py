"""A strict reader of Prometheus' text format, version 0.0.4: what it does not understand it refuses.

https://prometheus.io/docs/instrumenting/exposition_formats/ says what is right; beyond that it
insists on what promtool's linter does: a HELP and a TYPE for every metric, in front of all of its
samples, counters that end in _total, histograms that add up."""

import collections
import math
import re

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
HELP = re.compile(rf"# HELP ({NAME}) (.*)")
TYPE = re.compile(rf"# TYPE ({NAME}) (counter|gauge|histogram|summary|untyped)")
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? (\S+)")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(,|$)')
NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|Inf)|NaN")


class Malformed(Exception):
    pass


Family = collections.namedtuple("Family", "name type help samples")


def need(truth, line, why):
    if not truth:
        raise Malformed(f"{why}: {line!r}")


def labels_of(text, line):
    labels = {}
    at = 0
    while text and at < len(text):
        found = LABEL.match(text, at)
        need(found, line, "no label")
        need(found[1] not in labels, line, "a label twice")
        need(found[3] == "" or found.end() < len(text), line, "a comma too many")
        labels[found[1]] = re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], found[2])
        at = found.end()
    return tuple(sorted(labels.items()))


def number_of(text, line):
    need(NUMBER.fullmatch(text), line, "no number")
    return float(text)


def belongs(name, family):
    if family.type != "histogram":
        return name == family.name
    return name in (family.name + "_bucket", family.name + "_sum", family.name + "_count")


def check_histogram(family):
    rows = collections.defaultdict(dict)
    for (name, labels), value in family.samples.items():
        rest = tuple(label for label in labels if label[0] != "le")
        if name.endswith("_bucket"):
            bounds = [v for n, v in labels if n == "le"]
            need(len(bounds) == 1, labels, "a bucket without a bound")
            rows[rest].setdefault("buckets", []).append((float(bounds[0].replace("+Inf", "inf")), value))
        else:
            need(len(rest) == len(labels), labels, "a bound where none may be")
            rows[rest][name[len(family.name):]] = value
    need(rows, family.name, "a histogram without samples")
    for row in rows.values():
        need(set(row) == {"buckets", "_sum", "_count"}, family.name, "a histogram in part")
        bounds = [bound for bound, _ in row["buckets"]]
        counts = [count for _, count in row["buckets"]]
        need(bounds == sorted(set(bounds)) and bounds[-1] == math.inf, family.name, "bounds in no order")
        need(counts == sorted(counts), family.name, "buckets that are not cumulative")
        need(counts[-1] == row["_count"], family.name, "a count that is not that of all buckets")
        need(row["_sum"] >= 0 and (row["_count"] > 0 or row["_sum"] == 0), family.name, "an impossible sum")


def check(family):
    need(family.help, family.name, "no help")
    need(family.samples, family.name, "no samples")
    need(family.name.endswith("_total") == (family.type == "counter"), family.name, "a type that the name belies")
    need(not re.search(r"_(ms|us|ns|millis\w*|micros\w*|kilobytes|kb|mb|minutes|hours)(_|$)", family.name), family.name,
         "no base unit")
    if family.type == "histogram":
        check_histogram(family)
    if family.type == "counter":
        for labels, value in family.samples.items():
            need(value >= 0, labels, "a negative counter")


def parse(text):
    """The families by name."""
    if isinstance(text, bytes):
        text = text.decode()
    need(text.endswith("\n") and "\r" not in text, text[-20:], "no end of line at the end")
    families = {}
    helped = family = None
    for line in text[:-1].split("\n"):
        if found := HELP.fullmatch(line):
            need(helped is None and found[1] not in families, line, "out of place")
            need("\\" not in re.sub(r"\\[\\n]", "", found[2]), line, "an unknown escape")
            helped = found
        elif found := TYPE.fullmatch(line):
            need(helped and helped[1] == found[1], line, "not behind its help")
            family = families[found[1]] = Family(found[1], found[2], helped[2], {})
            helped = None
        else:
            found = SAMPLE.fullmatch(line)
            need(found and helped is None, line, "no line of this format")
            need(family and belongs(found[1], family), line, "a sample of no metric, or not with the others of it")
            key = found[1], labels_of(found[2], line)
            need(key not in family.samples, line, "a sample twice")
            family.samples[key] = number_of(found[3], line)
    need(helped is None, text[-200:], "a help without a metric")
    for each in families.values():
        check(each)
    return families


class Figures:
    """What a server's /metrics said."""

    def __init__(self, text):
        self.text = text
        self.families = parse(text)

    def get(self, name, **labels):
        """One sample's value."""
        wanted = name, tuple(sorted((k, str(v)) for k, v in labels.items()))
        for family in self.families.values():
            if wanted in family.samples:
                return family.samples[wanted]
        raise KeyError(wanted)

    def total(self, name):
        """Over all labels."""
        return sum(v for f in self.families.values() for (n, _), v in f.samples.items() if n == name)

    def by(self, name, label):
        return {dict(labels)[label]: v for (n, labels), v in self.families[name].samples.items()}

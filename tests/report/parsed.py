"""What a browser makes of a page."""

import collections
import html.parser


class Parsed(html.parser.HTMLParser):
    """What a browser makes of a page: tags with attributes, text by tag, tables."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.texts, self.tables = [], [], collections.defaultdict(list), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if self.open:
            self.texts[self.open[-1]].append(data)
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data

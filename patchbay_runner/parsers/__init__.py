"""What a program prints, turned into captured values. Pure: bytes in, values out."""

from patchbay_runner.parsers.document import DocumentError, document_captures, parse_document
from patchbay_runner.parsers.lines import LINE_LIMIT
from patchbay_runner.parsers.regex import compile_pattern
from patchbay_runner.parsers.stream import StreamParser, Values, stream_parser

__all__ = [
    "LINE_LIMIT",
    "DocumentError",
    "StreamParser",
    "Values",
    "compile_pattern",
    "document_captures",
    "parse_document",
    "stream_parser",
]

#!/usr/bin/env python3
"""Draws docs/run.svg: a terminal with the output of one real `make run`.

    scripts/picture-run.py [FILE]      FILE: the recorded output; without it, the script runs scripts/run.sh itself

The picture shows every kind of line once and counts the lines that it leaves out. The order in which five processes
write varies, so the picture sorts its lines by a fixed list: two pictures differ only in times, ports and paths.
Needs the release build (`make picture` builds it) and only Python's standard library.
"""

import html
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "run.svg"
COMMAND = "make run"
AGENCIES = range(1, 6)

# The lines of the picture, in its order: pattern, and whether the picture then counts the other lines that match.
# An agency's own lines come once, for agency 1; its winners come for every agency.
PICKED = [
    (r"server +\| .* action: listen \| result: success", False),
    (r"client1 +\| .* action: config \|", False),
    (r"server +\| .* action: accept_connections \| result: success", True),
    (r"server +\| .* action: apuesta_recibida \| result: success \| cantidad: 99$", True),
    (r"server +\| .* action: fin_apuestas \| result: success \| agencia: 1$", False),
    (r"client1 +\| .* action: apuestas_enviadas \|", False),
    (r"server +\| .* action: sorteo \| result: success", False),
    *((rf"client{agency} +\| .* action: consulta_ganadores \|", False) for agency in AGENCIES),
    (r"client1 +\| .* action: exit \|", False),
    (r"server +\| .* action: close_listener \|", False),
    (r"server +\| .* action: exit \|", False),
]

COLUMNS = 112  # longer lines end with an ellipsis
FONT_SIZE = 13
CHARACTER = 7.83  # width of a character; textLength makes it exact in every monospaced font
LINE = 19  # height of a line
MARGIN = 18
BAR = 34  # height of the title bar

STYLE = """
    svg { --back: #ffffff; --bar: #eaeef2; --ink: #1f2328; --soft: #59636e; --edge: #d1d9e0; --server: #0550ae;
          --client: #116329; --strong: #953800; }
    @media (prefers-color-scheme: dark) {
      svg { --back: #0d1117; --bar: #212830; --ink: #e6edf3; --soft: #9198a1; --edge: #3d444d; --server: #79c0ff;
            --client: #7ee787; --strong: #ffa657; }
    }
    text { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", "DejaVu Sans Mono", monospace;
           font-size: 13px; fill: var(--ink); white-space: pre; }
    .back { fill: var(--back); stroke: var(--edge); }
    .bar { fill: var(--bar); stroke: var(--edge); }
    .dot { fill: var(--edge); }
    .soft { fill: var(--soft); }
    .server { fill: var(--server); }
    .client { fill: var(--client); }
    .strong { fill: var(--strong); font-weight: 600; }
"""


def recorded() -> list[str]:
    """The lines of the file that was named, or of a run that starts now."""
    if len(sys.argv) > 2:
        sys.exit("usage: scripts/picture-run.py [FILE]")
    if len(sys.argv) == 2:
        return Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
    run = subprocess.run([ROOT / "scripts" / "run.sh"], capture_output=True, text=True, check=False)
    if run.returncode != 0:
        sys.exit(f"scripts/run.sh ended with exit code {run.returncode}:\n{run.stderr}")
    return run.stdout.splitlines()


def picked(lines: list[str]) -> list[str]:
    """The lines of the picture: the command, the picked lines with their counts, and the table."""
    table = lines.index("")  # an empty line separates the log lines from the table
    logged = lines[:table]
    shown = [f"$ {COMMAND}"]
    left_out = len(logged)
    for pattern, is_counted in PICKED:
        matches = [line for line in logged if re.match(pattern, line)]
        if not matches:
            sys.exit(f"no line of the run matches {pattern}")
        shown.append(matches[0])
        left_out -= 1
        if is_counted:
            shown.append(f"         ⋮ {len(matches) - 1} more of these")
            left_out -= len(matches) - 1
    shown.append(f"         ⋮ {left_out} other lines are not in this picture")
    return shown + lines[table:]


def spans(line: str) -> list[tuple[str, str]]:
    """The parts of a line, each with its class."""
    if line.startswith("$ "):
        return [("soft", "$ "), ("strong", line[2:])]
    if line.lstrip().startswith("⋮"):
        return [("soft", line)]
    log_line = re.fullmatch(r"((server|client)\d* *)(\| \S+ \S+ \S+ *)(action: )(\S+)(.*)", line)
    if log_line is None:
        return [("strong" if line.startswith(("agency", "total")) else "", line)]
    name, program, stamp, label, action, rest = log_line.groups()
    return [(program, name), ("soft", stamp), ("", label), ("strong", action), ("", rest)]


def text(line: str, y: float) -> str:
    """A line as an SVG text of exactly as many columns as it has characters."""
    if len(line) > COLUMNS:
        line = line[: COLUMNS - 1] + "…"
    parts = "".join(
        f'<tspan class="{name}">{html.escape(part)}</tspan>' if name else html.escape(part) for name, part in spans(line)
    )
    width = len(line) * CHARACTER
    return f'  <text x="{MARGIN}" y="{y:g}" textLength="{width:.1f}" xml:space="preserve">{parts}</text>'


def picture(lines: list[str]) -> str:
    """The whole SVG."""
    width = round(2 * MARGIN + COLUMNS * CHARACTER)
    height = BAR + MARGIN + len(lines) * LINE + MARGIN // 2
    first = BAR + MARGIN + FONT_SIZE / 2
    rows = [text(line, first + number * LINE) for number, line in enumerate(lines) if line]
    dots = [f'  <circle class="dot" cx="{MARGIN + number * 20}" cy="{BAR / 2:g}" r="6"/>' for number in range(3)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
            ' role="img" aria-labelledby="title desc">',
            "  <!-- Written by scripts/picture-run.py: run `make picture`, do not edit this file. -->",
            f'  <title id="title">A terminal that shows the output of {COMMAND}</title>',
            '  <desc id="desc">The server listens, five agencies send 78,697 bets in batches of 99, the server holds the draw,'
            " and each agency gets its own winners. A table with bets, winners and time of each agency ends the run.</desc>",
            f"  <style>{STYLE}  </style>",
            f'  <rect class="back" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8"/>',
            f'  <path class="bar" d="M0.5 {BAR} V8.5 a8 8 0 0 1 8 -8 H{width - 8.5} a8 8 0 0 1 8 8 V{BAR} z"/>',
            *dots,
            *rows,
            "</svg>",
            "",
        ]
    )


if __name__ == "__main__":
    PICTURE.write_text(picture(picked(recorded())), encoding="utf-8")
    print(f"written: {PICTURE.relative_to(ROOT)}")

#!/usr/bin/env python3
"""Writes the hand-made part of the corpus: one small file seed-CASE per case. Can be run from any directory. The corpus
also has files found-HASH, which a fuzzer found and which reach further code.

The module comment of fuzz/src/TARGET.rs describes the input of each target."""

import pathlib
import shutil
import struct
import zlib

CORPUS = pathlib.Path(__file__).parent / 'corpus'


def put(target, name, data):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f'seed-{name}').write_bytes(data)


# ---- decoder ----

def u32(n):
    return struct.pack('>I', n)


def pstr(text):
    return bytes([len(text)]) + text


def cstr(text):
    return text + b'\0'


DAY = b'1999-03-17'


def bet(first=b'Ana', last=b'Paz', document=30904465, day=DAY, number=7574):
    return cstr(first) + cstr(last) + u32(document) + cstr(day) + u32(number)


def batch(bets, agency=1, count=None):
    return u32(agency) + bytes([len(bets) if count is None else count]) + b''.join(bets)


def typed(*arguments, **options):
    return b'\1' + batch(*arguments, **options)


def single(first=b'Santiago Lionel', last=b'Lorca', day=DAY, agency=1):
    return u32(agency) + pstr(first) + pstr(last) + u32(30904465) + pstr(day) + u32(7574)


def decoder():
    longest = bet(b'x' * 29, 'ñ'.encode() * 14 + b'y')
    streams = {
        'echo': '[CLIENT 1] Message N°1\n'.encode(),
        'echo-white': b'a \t\r\x0b\x0c \n', 'echo-open': 'Año '.encode(), 'echo-torn-utf8': b'a\xc3\n',
        'echo-full': b'x' * 1024 + b'\n', 'echo-too-long': b'x' * 1025,
        'http': b'GET / HTTP/1.1\r\nHost: x\r\n\r\n',
        'tls': bytes.fromhex('16030100c8010000c40303'),
        'single': single(), 'single-long': single(b'y' * 255, b'z' * 255), 'single-bad-day': single(day=b'2023-02-30'),
        'single-control': single(b'a\nb'), 'single-no-agency': single(agency=0),
        'untyped': batch([bet(), bet('Zoë'.encode(), 'Núñez'.encode())]), 'untyped-empty': batch([]),
        'untyped-two-names': batch([bet(b'A', b'B')] * 2, count=65),
        'typed': typed([bet(), bet('Ñandú, "La"'.encode())]), 'typed-end': typed([]),
        'typed-long-names': typed([longest] * 3), 'typed-full': typed([longest] * 105, count=105),
        'typed-30-byte-name': typed([bet(b'x' * 30)]), 'typed-11-byte-day': typed([bet(day=b'1999-03-170')]),
        'typed-announced-only': typed([], count=255),
        'typed-bad-second': typed([bet(), bet(day=b'2023-02-29'), bet()]),
        'typed-empty-names': typed([bet(b'', b'')]), 'typed-not-utf8': typed([bet(b'a\xff')]),
        'typed-controls': typed([bet('a\u0085b'.encode()), bet(b'a\tb')]),
        'typed-agencies': typed([bet()], agency=1) + typed([bet()], agency=2**32 - 1),
        'typed-agency-0': typed([bet()], agency=0),
        'conversation': b'\6' + u32(1) + typed([bet()] * 3) + typed([bet()]) + typed([]) + b'\3' + u32(1),
        'winners-many': (b'\3' + u32(5)) * 40, 'unknown-type': b'\3' + u32(1) + b'\x09',
        'servers-type': b'\2\0', 'leap-days': typed([bet(day=d) for d in (b'2000-02-29', b'1900-02-29', b'9999-12-31')]),
        'answer-refused': b'\2\3', 'answer-unknown-code': b'\2\x08', 'answer-not-drawn': b'\4\4',
        'answer-winners': b'\5' + u32(3) + u32(30904465) + u32(0) + u32(9),
        'answer-winners-too-many': b'\5' + u32(2**32 - 1) + u32(1),
        'answer-received': b'\7' + u32(1) + struct.pack('>Q', 26936) + b'\1' + u32(0x1c291ca3) + b'\4',
    }
    cuts = [b'', b'\0', b'\2\5', b'\x20\xff\0', b'\x0b\x0b\x0b\x0b']
    for n, (name, stream) in enumerate(streams.items()):
        pieces = cuts[n % len(cuts)]
        put('decoder', name, bytes([len(pieces)]) + pieces + stream)


# ---- recovery ----

def row(first='Ana', number=7574, agency=1, document=30904465, last='Paz'):
    return f'{agency},{first},{last},{document},1999-03-17,{number}\r\n'.encode()


def books(head=None, *slots, slots_off=0):
    """Folded. The header needs a byte, so that it counts as written; its other fields are sealed. `head` is (seq, committed,
    flags), and each slot is a list of its halves."""
    header = b'LOTBOOK1' + b'\0' * 36 + u32(7) + u32(slots_off) + b'\0' * 12
    halves = [half(*(head or (1, 0, 0))), b'\0' * 64]
    for pair in slots:
        halves += (list(pair) + [b'\0' * 64])[:2]
    return header + b''.join(halves)


def half(seq, committed, flags):
    return (struct.pack('>QQI', seq, committed, flags)).ljust(64, b'\0')


def slot(agency, seq=1, end=0, count=0, crc=0, flags=0):
    return struct.pack('>QQQIII', seq, end, count, crc, agency, flags).ljust(64, b'\0')


def draw(*units, place=b''):
    return (b'LOTDRAW2' + struct.pack('>Q', 1764000000)).ljust(32, b'\0') + place.ljust(32, b'\0') + b''.join(units)


def unit(agency, count=0, crc=0):
    return (b'FIN2' + struct.pack('>IQI', agency, count, crc)).ljust(32, b'\0')


def result(winners, agencies=2, committed=76):
    """`winners` has the documents of each agency, by slot."""
    lists = [(agency, b''.join(map(u32, documents))) for agency, documents in winners.items()]
    header = (b'RES2' + u32(agencies) + u32(7574) + u32(len(lists)) + struct.pack('>Q', committed)).ljust(32, b'\0')
    first, entries = 0, b''
    for agency, documents in lists:
        entries += u32(agency) + u32(first) + u32(len(documents) // 4) + u32(0)
        first += len(documents) // 4
    return header + entries + b''.join(documents for _, documents in lists)


def recovery():
    folded, sealed, relative, elsewhere, synced, no_books, no_draw = 1, 2, 4, 8, 16, 32, 64
    alone, proved = no_books | no_draw, folded | sealed | relative
    two = row() + row('"Pérez, Ana"', 75741, 2)
    held = b'HELD'
    both = [[slot(1)], [slot(2)]]
    ended = [[slot(1, flags=1)], [slot(2, flags=3)]]
    won = result({1: [30904465], 2: [7, 7]})
    texts = {
        'rows': two, 'quotes': row('"Ana ""La"""') + row('A"n"a') + row('"A"na'), 'torn-number': two + row(number=75741)[:-3],
        'torn-cr': two[:-1], 'no-cr': two[:-2] + b'\n', 'foreign-tail': two + b'\0' * 20 + row(),
        'bad-in-the-middle': row() + b'x,y\r\n' + row(), 'lone-cr': row() + row('"Ana"')[:-2] + b'\rx,y\r\n',
        'bom': b'\xef\xbb\xbf' + row('"Ana"'), 'open-quote': row() + row(number='"7574') + row(),
        'quoted-agency': row(agency='"1"') + row(), 'quoted-all': b'"1","Ana","Paz","7","1999-03-17","8"\r\n',
        'zeros': row(agency='01', document='007'), 'agency-0': row(agency=0), 'too-large': row(document=2**32),
        'seven-fields': row(number='1,2'), 'control': row('A\tna'), 'not-utf8': row('Ana').replace(b'Ana', b'An\xff'),
        'empty-name': row(''), 'not-a-day': row().replace(b'03-17', b'02-30'), 'lines': b'\r\n\n' + row(),
    }
    cases = {name: (alone, text) for name, text in texts.items()}
    cases |= {
        'nothing': (alone,), 'empty-draw': (no_books,), 'books-garbage': (0, two, b'LOTBOOK1' + b'x' * 64, draw()),
        'new': (proved, b'', books(), draw()), 'books': (proved, two, books(None, *both), draw()),
        'books-synced': (proved | synced, two, books(None, *both), draw()), 'books-unsealed': (folded, two, books(None, *both), draw()),
        'books-elsewhere': (proved | elsewhere, two, books(None, *both), draw()), 'books-alone': (proved | no_draw, two, books(None, *both)),
        'books-missing': (proved | no_books, two, b'', draw(unit(1))), 'books-short': (proved, two, books(None, *both, slots_off=4), draw()),
        'tail': (proved, two + b'3,Ana', books(None, *both), draw()), 'short': (proved, two, books((1, 256, 0), *both), draw()),
        'inside-a-row': (proved, two + b'3,Ana', books((1, 128, 0), *both), draw()),
        'rolled-forward': (proved, two, books((3, len(two) ^ len(row()), 0), [slot(1, seq=3, end=len(two) ^ len(row()))], [slot(2, seq=4)]), draw()),
        'two-writers': (proved, two, books((3, len(two), 0), [slot(1, seq=4)], [slot(2, seq=4)]), draw()),
        'older-half': (proved, two, books((3, 0, 0), [slot(1, seq=1, count=5), slot(1, seq=2)], [slot(2)]), draw()),
        'other-rows': (proved, two, books(None, [slot(1, crc=1)], [slot(2)]), draw()),
        'unknown-rows': (proved, two, books(None, [slot(1)]), draw()), 'twice': (proved, row(), books(None, [slot(1)], [slot(1)]), draw()),
        'cut': (proved, two, books((9, 0, 1), *both), draw()), 'doubtful': (proved, two + row(), books((9, 64, 4), *both), draw()),
        'closed': (proved, two, books(None, *ended), draw()), 'ended': (proved, two, books(None, *ended), draw(unit(1), unit(2))),
        'ended-late': (proved, two, books(None, *ended), draw(unit(1))), 'ended-torn': (proved, two, books(None, *ended), draw(unit(1), b'FIN2')),
        'ended-elsewhere': (proved | elsewhere, two, books(None, *ended), draw(unit(1), unit(2))),
        'ended-gone': (proved | elsewhere, two, books(None, *ended), draw(unit(1))),
        'ended-differs': (proved | elsewhere, two, books(None, *both), draw(unit(1, count=1))),
        'ended-open': (proved, two, books(None, *both), draw(unit(1))), 'ended-twice': (proved | no_books, two, b'', draw(unit(1), unit(1))),
        'ended-empty': (proved | no_books, two, b'', draw(b'\0' * 32, unit(9), unit(2))),
        'ended-unsealed': (no_books, two, b'', draw(unit(1))),
        'planned': (proved, two, books(None, *ended), draw(unit(1), unit(2), place=b'NEXT'), won),
        'planned-elsewhere': (proved | elsewhere, two, books(None, *ended), draw(unit(1), unit(2), place=b'NEXT'), won),
        'planned-nowhere': (proved, two, books(None, *ended), draw(unit(1), unit(2), place=b'NEXT' + b'\0' * 11 + b'\7'), won),
        'planned-far': (proved, two, books(None, *ended), draw(unit(1), unit(2), place=b'NEXT' + b'\0' * 4 + b'\x7f'), won),
        'held': (proved, two, books((1, 0, 2), *ended), draw(unit(1), unit(2), place=held), won),
        'held-late': (proved, two, books(None, *ended), draw(unit(1), unit(2), place=held), won),
        'held-elsewhere': (proved | elsewhere, two, books((1, 0, 2), *ended), draw(unit(1), unit(2), place=held), won),
        'held-alone': (proved | no_books, two, b'', draw(unit(1), unit(2), place=held), won),
        'held-gone': (proved, two, books((1, 0, 2), *ended), draw(unit(1), unit(2))),
        'held-damaged': (proved, two, books(None, *ended), draw(unit(1), unit(2), place=held + b'\1'), won),
        'held-unsealed': (folded, two, b'', draw(unit(1), unit(2), place=held), won),
        'held-without-ends': (proved, two, books(None, *ended), draw(place=held), won),
        'older-version': (no_books, two, b'', b'LOTDRAW1' + b'\0' * 40),
        'raw': (sealed, two, books(None, *both).ljust(4096, b'\0'), draw()),
    }
    for name, (options, *files) in cases.items():
        put('recovery', name, bytes([options]) + b'\xff=\xff'.join(files))


# ---- agency_file ----

def agency_file():
    good, eva = b'Ana,Paz,7,1999-03-17,8', b'Eva,Paz,9,2000-02-29,7574'
    bom = b'\xef\xbb\xbf'

    def zeros(line_length, tail=b'7,1999-03-17,8'):
        """A row of this length, whose document is padded with zeros."""
        head = b'Ana,Paz,0'
        missing = line_length - len(head) - len(tail)
        return head + b'\xfe' + bytes([missing // 16]) + b'0' * (missing % 16) + tail

    cases = {
        'lf': good + b'\n' + eva + b'\n', 'crlf': good + b'\r\n' + eva + b'\r\n', 'no-end': good + b'\n' + eva,
        'cr-end': good + b'\r\n' + eva + b'\r', 'bom': bom + good + b'\n' + eva, 'bom-only': bom, 'two-boms': bom + bom + good,
        'bom-later': good + b'\n' + bom + b'Ana,"Paz",7,1999-03-17,8\n', 'bom-quoted': bom + b'"Ana",Paz,7,1999-03-17,8\n',
        'blank': b'\n\r\n  \n\t\x0c\n' + good + b'\n\n', 'quotes': b'"P\xc3\xa9rez, Ana","La ""\xc3\x91""",7,1999-03-17,8\n',
        'odd-quotes': b'Ana "La" Paz,"Pa"z,7,1999-03-17,8\n', 'open-quote': b'"Ana,Paz,7,1999-03-17,8\n' + good,
        'open-quote-last': b'Ana,Paz,7,1999-03-17,"8\n' + good + b'\n', 'open-quote-at-end': good + b'\nAna,Paz,7,1999-03-17,"75',
        'lone-cr': b'"A\rna",Paz,7,1999-03-17,8\rx\n' + good, 'fields': b'Ana,Paz,7,1999-03-17\n' + good + b',9\n' + b'""\n',
        'numbers': b'Ana,Paz,-7,1999-03-17,8\nAna,Paz,4294967296,1999-03-17,8\nAna,Paz,007,1999-03-17,4294967295\n',
        'long-names': b'x' * 29 + b',' + b'y' * 30 + b',7,1999-03-17,8\n' + b'x' * 29 + b',Paz,7,1999-03-17,8\n',
        'controls': b'A\0na,Paz,7,1999-03-17,8\nA\xc2\x85na,Paz,7,1999-03-17,8\n', 'not-utf8': b'\xff\xfeA,Paz,7,1999-03-17,8\n',
        'longest': zeros(4096) + b'\n' + good, 'too-long': zeros(4097) + b'\r\n' + good, 'longest-crlf': zeros(4096) + b'\r\n' + good,
        'bom-longest': bom + zeros(4096) + b'\n' + good, 'bom-too-long': bom + zeros(4097, b'7,1999-03-17,75') + b'\n' + good,
        'bom-far-too-long': bom + zeros(4110, b'7,1999-03-17,75741') + b'\n', 'endless': b'x' + b'\xfe\xff' * 20 + b'\n' + good,
        'many': (good + b'\n' + eva + b'\n') * 20, 'long-bets': (b'x' * 29 + b',' + b'y' * 29 + b',7,1999-03-17,8\n') * 103,
        'blanks-across-buffers': b' \xfe\xff\n' * 16 + good + b'\n',
        'semicolons': (good.replace(b',', b';') + b'\n') * 3, 'utf-16': (good + b'\r\n' + eva).decode().encode('utf-16-le'),
        'utf-16-mark': b'\xfe\xff' + good.decode().encode('utf-16-be'), 'six-columns': (b'3,' + good + b'\n') * 3,
    }
    for n, (name, text) in enumerate(cases.items()):
        put('agency_file', name, bytes([(99, 2, 255)[n % 3], 0, n % 5]) + text)


# ---- config ----

def config():
    ini = {
        'official': b'[DEFAULT]\nSERVER_PORT = 12345\nSERVER_IP = server\nSERVER_LISTEN_BACKLOG = 5\nLOGGING_LEVEL = DEBUG\n',
        'all': b'# all\n[DEFAULT]\nclient_amount: 3\nSTORAGE_FILEPATH=/d/b.csv\nLOTTERY_WINNER_NUMBER=0\nMAX_CONNECTIONS=9\n'
               b'MAX_PER_SOURCE=7\nPENALTY=2s\n'
               b'IDLE_TIMEOUT=1m30s\nMESSAGE_TIMEOUT=150ms\nNEWCOMER_TIMEOUT=20s\nDRAW_WAIT=forever\nSHUTDOWN_GRACE=5s\nDURABILITY=batch\n'
               b'LOG_TARGET=both\nSYSLOG_SOCKET=/s\n',
        'crlf': b'[DEFAULT]\r\nSERVER_PORT = 1\r\n', 'cr': b'[DEFAULT]\rSTORAGE_FILEPATH = 1\rSERVER_PORT = 2\r',
        'twice': b'[DEFAULT]\nSERVER_PORT=1\nserver_port=2\n', 'sections': b'[DEFAULT]\n[OTHER]\nA=1\n', 'bare': b'SERVER_PORT=1\n',
        'continued': b'[DEFAULT]\nSTORAGE_FILEPATH=a\n  b\n', 'indented': b'[DEFAULT]\n  SERVER_PORT=1\n LOG_TARGET=syslog\n',
        'wide-indent': '[DEFAULT]\n\u3000SERVER_PORT=1\n  DURABILITY=end\n'.encode(), 'inline': b'[DEFAULT]\nSTORAGE_FILEPATH = "a" # b ; \\n %\n',
        'separators': b'[DEFAULT]\nSTORAGE_FILEPATH = a\x1f\n\x1cSERVER_PORT=1\n', 'long-s': '[DEFAULT]\nſERVER_PORT=7\n'.encode(),
        'unknown': b'[DEFAULT]\nPORT=1\n', 'ranges': b'[DEFAULT]\nSERVER_PORT=65536\n', 'backlog': b'[DEFAULT]\nSERVER_LISTEN_BACKLOG=2147483648\n',
        'connections': b'[DEFAULT]\nCLIENT_AMOUNT=9\nMAX_CONNECTIONS=9\n'
               b'MAX_PER_SOURCE=7\nPENALTY=2s\n', 'most': b'[DEFAULT]\nCLIENT_AMOUNT=4294967295\n',
        'colon': b'[DEFAULT]\nSTORAGE_FILEPATH : a=b:c\n', 'empty-value': b'[DEFAULT]\nSTORAGE_FILEPATH=\n', 'nul': b'[DEFAULT]\nSTORAGE_FILEPATH=a\0b\n',
        'bom': b'\xef\xbb\xbf[DEFAULT]\nSERVER_PORT=1\n', 'twice-default': b'[DEFAULT]\nSERVER_PORT=1\n[DEFAULT]\nDRAW_WAIT=0s\n',
        'timeouts': b'[DEFAULT]\nIDLE_TIMEOUT=10ms\nMESSAGE_TIMEOUT=9.99ms\n', 'least': b'[DEFAULT]\nIDLE_TIMEOUT=10ms\nSHUTDOWN_GRACE=0\n',
    }
    yaml = {
        'official': b'server:\n  address: "server:12345"\nloop:\n  amount: 5\n  period: "5s"\nlog:\n  level: "INFO"\nbatch:\n  maxAmount: 10\nid: 1\n',
        'all': b'id: 7\nmode: batch\nresume: false\nserver: {address: "[::1]:99"}\nlog: {level: debug, settle: 2s}\n'
               b'batch: {maxAmount: 255, window: 4}\ndata: {path: /x.csv}\nretry: {timeout: 1h}\nloop: {amount: 0, period: 150ms}\n',
        'unknown': b'id: 1\nlop: 2\n', 'twice': b'id: 1\nid: 2\n', 'list': b'- a\n', 'nested': b'id: ' + b'[' * 130, 'alias': b'id: &a 1\nmode: *a\n',
        'merge': b'id: 1\n<<: {mode: echo}\n', 'tag': b'id: !x 1\n', 'numbers': b'id: 0x10\nbatch: {maxAmount: 1e1, window: 2.0}\n',
        'big': b'id: 99999999999999999999999\n', 'negative': b'id: -1\n', 'bet': b'id: 1\nmode: bet\n', 'large-id': b'id: 16777216\nmode: batch\n',
        'documents': b'id: 1\n---\nid: 2\n', 'block': b'id: 1\ndata:\n  path: |\n    a\n    b\n', 'escapes': b'id: "\\x31"\ndata: {path: "a\\0b"}\n',
        'null': b'id: ~\n', 'empty-sections': b'id: 1\nloop:\nlog:\n  level:\n', 'octal': b'id: 010\n', 'address': b'id: 1\nserver: {address: "x:0"}\n',
        'key-is-no-text': b'1: 2\n', 'infinite': b'id: .inf\n',
        'bom': b'\xef\xbb\xbf# c\nid: 1\n', 'brackets': b'# [a] {b}\n' * 40 + b'id: 1\ndata: {path: "' + b'[' * 64 + b'"}\n',
        'directives': b'%TAG !a! x\n' * 65 + b'---\nid: 1\n', 'comments': b'# [a] {b}\n' * 40 + b'id: 1\n',
    }
    ini['tls'] = b'[DEFAULT]\nTLS = required\nTLS_CERTIFICATE = a\nTLS_KEY = b\nTLS_AGENCY_CA = c\n'
    ini['tls-part'] = b'[DEFAULT]\nTLS_KEY = b\n'
    ini['tls-word'] = b'[DEFAULT]\nTLS = on\n'
    yaml['tls'] = b'id: 1\ntls: {ca: a, certificate: b, key: c, serverName: d}\n'
    yaml['tls-part'] = b'id: 1\ntls: {ca: a}\n'
    durations = ['0', '0s', '5s', '150ms', '1m30s', '1.5h', '.5s', '5.s', '.s', '1..5s', '3us', '3µs', '3μs', '7ns', '-5s', '5', 's', '5 s', '1e3s',
                 '18446744073709551615s', '18446744073709551616s', '5124095576030431h15m', '0.0000000001s', '1h1h', '99999999999999999999h', '５s']
    for kind, cases in (('i', ini), ('y', yaml), ('d', {str(n): text.encode() for n, text in enumerate(durations)})):
        for name, text in cases.items():
            put('config', f'{kind}-{name}', kind.encode() + text)


# ---- tls ----

def record(kind, body, version=b'\3\3'):
    return bytes([kind]) + version + struct.pack('>H', len(body)) + body


def tls():
    hello = b'\1\0\0\x2a\3\3' + bytes(32) + b'\0\0\2\x13\1\1\0\0\0'
    cases = {
        'empty': b'', 'version': b'\3\1', 'length': b'\3\1\0', 'no-body': b'\3\1\0\0', 'cut': b'\3\1\2\0' + bytes(20),
        'hello': record(22, hello)[1:], 'hello-twice': record(22, hello)[1:] + record(22, hello),
        'split-hello': record(22, hello[:9])[1:] + record(22, hello[9:]), 'alert': record(22, hello)[1:] + record(21, b'\2\x28'),
        'warnings': b'\3\1\0\1\1' + record(21, b'\1\0') * 30, 'change': b'\3\1\0\1\1' + record(20, b'\1') * 30,
        'long-message': record(22, b'\1\xff\xff\xff' + bytes(500))[1:], 'long-record': b'\3\3\xff\xff' + bytes(600),
        'data': b'\3\1\0\1\1' + record(23, bytes(64)), 'empty-records': record(23, b'') * 50, 'batch': b'\1' + u32(1) + b'\1' + bet(),
        'text': b'hola\n',
    }
    for name, stream in cases.items():
        put('tls', name, b'\xff' + stream)
        put('tls', f'{name}-in-pieces', b'\2' + stream)


if __name__ == '__main__':
    for old in CORPUS.glob('*/seed-*'):
        old.unlink()
    for make in (decoder, recovery, agency_file, config, tls):
        make()

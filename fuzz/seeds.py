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


def end(agency):
    record = b'FIN1' + u32(agency)
    return record + u32(zlib.crc32(record))


def draw(winners, agencies=2, committed=76):
    lists = {agency: b''.join(map(u32, documents)) for agency, documents in winners.items()}
    index = b'LOTDRAW1' + u32(agencies) + u32(7574) + struct.pack('>Q', committed) + u32(len(lists))
    index += b''.join(u32(agency) + u32(len(docs) // 4) + u32(zlib.crc32(docs)) for agency, docs in lists.items())
    return index + u32(zlib.crc32(index)) + b''.join(lists.values())


def recovery():
    mended, recorded, flipped, synced = 3, 4, 8, 16
    two = row() + row('"Pérez, Ana"', 75741, 2)
    cases = {
        'nothing': (0,), 'rows': (synced, two), 'quotes': (0, row('"Ana ""La"""') + row('A"n"a') + row('"A"na')),
        'torn-number': (0, two + row(number=75741)[:-3]), 'torn-cr': (0, two[:-1]), 'no-cr': (0, two[:-2] + b'\n'),
        'foreign-tail': (synced, two + b'\0' * 20 + row()), 'bad-in-the-middle': (0, row() + b'x,y\r\n' + row()),
        'lone-cr': (0, row() + row('"Ana"')[:-2] + b'\rx,y\r\n'), 'bom': (0, b'\xef\xbb\xbf' + row('"Ana"')),
        'open-quote': (0, row() + row(number='"7574') + row()), 'quoted-agency': (0, row(agency='"1"') + row()),
        'quoted-all': (0, b'"1","Ana","Paz","7","1999-03-17","8"\r\n'), 'zeros': (0, row(agency='01', document='007')),
        'agency-0': (0, row(agency=0)), 'too-large': (0, row(document=2**32)), 'seven-fields': (0, row(number='1,2')),
        'control': (0, row('A\tna')), 'not-utf8': (0, row('Ana').replace(b'Ana', b'An\xff')),
        'empty-name': (0, row('')), 'not-a-day': (0, row().replace(b'03-17', b'02-30')), 'lines': (0, b'\r\n\n' + row()),
        'ends': (0, two, end(1) + end(2)), 'ends-torn': (0, two, end(1) + end(2)[:7]),
        'ends-flipped': (0, two, end(1) + end(3)[:-1] + b'\0' + end(2)),
        'ends-mended': (mended, b'', b'FIN1\0\0\0\1----FIN1\0\0\0\0----FIN1\xff\xff\xff\xff----rest'),
        'draw': (0, two, end(1) + end(2), draw({1: [30904465], 2: [7, 7]})),
        'draw-empty': (0, b'', b'', draw({})), 'draw-torn': (0, two, b'', draw({1: [5, 6]})[:-2]),
        'draw-many': (mended, b'', b'', draw({n: [n] * n for n in range(1, 6)})),
        'draw-huge-index': (mended, b'', b'', draw({})[:24] + b'\xff\xff\xff\xff1234'),
        'record': (recorded, two, b'', b'', struct.pack('>H', len(two))),
        'record-tail': (recorded | synced, two + row(), b'', b'', struct.pack('>H', len(two))),
        'record-missing-rows': (recorded, row(), b'', b'', struct.pack('>H', len(two))),
        'record-inside-a-row': (recorded, two, b'', b'', struct.pack('>H', len(two) - 3)),
        'record-flipped': (flipped, two + b'tail', b'', b'', struct.pack('>HH', 10, 300)),
        'record-garbage': (0, two, b'', b'', b'LOTBETS1' + b'x' * 64),
        'all': (mended | recorded, two, end(1), draw({1: [1]}), struct.pack('>H', len(two))),
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
    }
    for n, (name, text) in enumerate(cases.items()):
        put('agency_file', name, bytes([(99, 2, 255)[n % 3], 0, n % 5]) + text)


# ---- config ----

def config():
    ini = {
        'official': b'[DEFAULT]\nSERVER_PORT = 12345\nSERVER_IP = server\nSERVER_LISTEN_BACKLOG = 5\nLOGGING_LEVEL = DEBUG\n',
        'all': b'# all\n[DEFAULT]\nclient_amount: 3\nSTORAGE_FILEPATH=/d/b.csv\nLOTTERY_WINNER_NUMBER=0\nMAX_CONNECTIONS=9\n'
               b'IDLE_TIMEOUT=1m30s\nMESSAGE_TIMEOUT=150ms\nDRAW_WAIT=forever\nSHUTDOWN_GRACE=5s\nDURABILITY=batch\n'
               b'LOG_TARGET=both\nSYSLOG_SOCKET=/s\n',
        'crlf': b'[DEFAULT]\r\nSERVER_PORT = 1\r\n', 'cr': b'[DEFAULT]\rSTORAGE_FILEPATH = 1\rSERVER_PORT = 2\r',
        'twice': b'[DEFAULT]\nSERVER_PORT=1\nserver_port=2\n', 'sections': b'[DEFAULT]\n[OTHER]\nA=1\n', 'bare': b'SERVER_PORT=1\n',
        'continued': b'[DEFAULT]\nSTORAGE_FILEPATH=a\n  b\n', 'indented': b'[DEFAULT]\n  SERVER_PORT=1\n LOG_TARGET=syslog\n',
        'wide-indent': '[DEFAULT]\n\u3000SERVER_PORT=1\n  DURABILITY=end\n'.encode(), 'inline': b'[DEFAULT]\nSTORAGE_FILEPATH = "a" # b ; \\n %\n',
        'separators': b'[DEFAULT]\nSTORAGE_FILEPATH = a\x1f\n\x1cSERVER_PORT=1\n', 'long-s': '[DEFAULT]\nſERVER_PORT=7\n'.encode(),
        'unknown': b'[DEFAULT]\nPORT=1\n', 'ranges': b'[DEFAULT]\nSERVER_PORT=65536\n', 'backlog': b'[DEFAULT]\nSERVER_LISTEN_BACKLOG=2147483648\n',
        'connections': b'[DEFAULT]\nCLIENT_AMOUNT=9\nMAX_CONNECTIONS=9\n', 'most': b'[DEFAULT]\nCLIENT_AMOUNT=4294967295\n',
        'colon': b'[DEFAULT]\nSTORAGE_FILEPATH : a=b:c\n', 'empty-value': b'[DEFAULT]\nSTORAGE_FILEPATH=\n', 'nul': b'[DEFAULT]\nSTORAGE_FILEPATH=a\0b\n',
        'bom': b'\xef\xbb\xbf[DEFAULT]\nSERVER_PORT=1\n', 'twice-default': b'[DEFAULT]\nSERVER_PORT=1\n[DEFAULT]\nDRAW_WAIT=0s\n',
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
    }
    durations = ['0', '0s', '5s', '150ms', '1m30s', '1.5h', '.5s', '5.s', '.s', '1..5s', '3us', '3µs', '3μs', '7ns', '-5s', '5', 's', '5 s', '1e3s',
                 '18446744073709551615s', '18446744073709551616s', '5124095576030431h15m', '0.0000000001s', '1h1h', '99999999999999999999h', '５s']
    for kind, cases in (('i', ini), ('y', yaml), ('d', {str(n): text.encode() for n, text in enumerate(durations)})):
        for name, text in cases.items():
            put('config', f'{kind}-{name}', kind.encode() + text)


if __name__ == '__main__':
    for old in CORPUS.glob('*/seed-*'):
        old.unlink()
    for make in (decoder, recovery, agency_file, config):
        make()

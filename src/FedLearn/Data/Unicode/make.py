"""Writes nfc.txt: what Unicode normal form C needs, from Python's unicodedata.

    python3 make.py > nfc.txt

Lines: 'class FIRST-LAST N' (canonical combining class N), 'pair C A B' (C decomposes to A B and A B compose to C),
'apart C A [B]' (C decomposes, nothing composes to it). Numbers are hexadecimal except N. Hangul is arithmetic and left out.
"""
import unicodedata

HANGUL = range(0xAC00, 0xD7A4)
print(f"# Unicode {unicodedata.unidata_version} character data, (c) Unicode, Inc., used under the Unicode licence; written by make.py.")
first = None
for code in range(0x110000):
    number = unicodedata.combining(chr(code))
    if number and first is None:
        first = code
    if number and unicodedata.combining(chr(code + 1)) != number:
        print(f"class {first:X}-{code:X} {number}")
    if number == 0 or unicodedata.combining(chr(code + 1)) != number:
        first = None
for code in range(0x110000):
    parts = unicodedata.decomposition(chr(code)).split()
    if code in HANGUL or not parts or parts[0].startswith("<"):
        continue
    composes = len(parts) == 2 and unicodedata.normalize("NFC", "".join(chr(int(part, 16)) for part in parts)) == chr(code)
    print("pair" if composes else "apart", f"{code:X}", *(f"{int(part, 16):X}" for part in parts))

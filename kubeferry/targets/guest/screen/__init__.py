"""What a screen shows: its picture over time, and the text on it.

watching   boot seen on the screen: it stays as it is, and is neither firmware nor boot loader nor panic
reading    text off a picture, letter by letter      letters   the letters that are known, by digests of their dots
pictures   PNG as QEMU writes it, as rows of dots
"""

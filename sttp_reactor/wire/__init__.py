"""STTP as bytes, for both roles: nothing here knows a socket, a thread, a clock or a file.

Bytes go in with `receive_data`, messages come out with `next_message`; the encoder turns messages into bytes.
"""

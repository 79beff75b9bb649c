using System.Buffers.Binary;
using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using System.Security.Cryptography;
using FedLearn.Privacy.Numerics;
using Aes = System.Runtime.Intrinsics.X86.Aes;

namespace FedLearn.Privacy;

/// <summary>Pseudorandom words of one key, by position: AES-128 in counter mode (FIPS 197, SP 800-38A) where the processor has AES
/// instructions, else ChaCha20 (RFC 8439). Neither looks up a table by secret bits.</summary>
/// <remarks>
/// The key is in memory of the caller, who wipes it. Leading words are the key stream of nonce 0; further words of a draw take blocks whose
/// nonce begins with their part, which is at least 1: no block serves twice. A counter block of AES is part and block number, that of ChaCha20 has the
/// nonce (part, draw); an <see cref="int"/> counts draws, so that a key gives less than 2^31 blocks.
/// </remarks>
internal readonly ref struct KeyStream : IUniformBits
{
    /// <summary>Bytes of key that the constructor reads, whichever generator it is for.</summary>
    public const int KeyLength = 32;

    /// <summary>Vectors that the constructor writes: the AES key schedule, or the ChaCha20 key.</summary>
    public const int ScheduleLength = 11;

    private const int AesBlocks = 8, ChaChaLanes = 4;

    private readonly ReadOnlySpan<Vector128<byte>> _schedule;
    private readonly bool _aes;

    /// <summary>Starts a stream.</summary>
    /// <param name="key"><see cref="KeyLength"/> random bytes; AES uses the first 16.</param>
    /// <param name="schedule"><see cref="ScheduleLength"/> vectors of memory, to be wiped by the caller.</param>
    /// <param name="aes">Whether to use AES, which needs <see cref="HasAes"/>.</param>
    public KeyStream(ReadOnlySpan<byte> key, Span<Vector128<byte>> schedule, bool aes)
    {
        if (aes)
            Expand(Vector128.Create(key[..16]), schedule);
        else
            key[..KeyLength].CopyTo(MemoryMarshal.AsBytes(schedule));
        _schedule = schedule[..ScheduleLength];
        _aes = aes;
    }

    /// <summary>Whether the processor has AES instructions.</summary>
    public static bool HasAes => Aes.IsSupported && Ssse3.IsSupported;

    /// <summary>Whether both generators give their published answers on this processor.</summary>
    public static bool IsSound { get; } = KnownAnswers();

    /// <inheritdoc />
    public void Leading(ulong first, scoped Span<ulong> words)
    {
        if (_aes)
            for (int i = 0; i < words.Length; i += 2 * AesBlocks)
                EncryptCounters(0, first / 2 + (ulong)i / 2, MemoryMarshal.Cast<ulong, Vector128<byte>>(words.Slice(i, 2 * AesBlocks)));
        else
            for (int i = 0; i < words.Length; i += 8 * ChaChaLanes)
                ChaCha(default, checked((uint)(first / 8) + (uint)i / 8), MemoryMarshal.Cast<ulong, uint>(words.Slice(i, 8 * ChaChaLanes)));
    }

    /// <inheritdoc />
    public ulong Further(ulong draw, int part)
    {
        Debug.Assert(part > 0);
        Span<byte> block = stackalloc byte[64 * ChaChaLanes];
        if (_aes)
            EncryptCounters((ulong)part, draw, MemoryMarshal.Cast<byte, Vector128<byte>>(block)[..AesBlocks]);
        else
            ChaCha(((uint)part, unchecked((uint)draw), (uint)(draw >> 32)), 0, MemoryMarshal.Cast<byte, uint>(block));
        ulong word = MemoryMarshal.Read<ulong>(block);
        CryptographicOperations.ZeroMemory(block);
        return word;
    }

    /// <summary>Encrypts the counter blocks (high, low), (high, low + 1), ..., each a big-endian number of 128 bits: eight at a time, since
    /// a round takes longer than the processor needs to start the next.</summary>
    internal void EncryptCounters(ulong high, ulong low, Span<Vector128<byte>> blocks)
    {
        ReadOnlySpan<Vector128<byte>> keys = _schedule;
        Vector128<byte> key = keys[0];
        Vector128<byte> bigEndian = Vector128.Create((byte)7, 6, 5, 4, 3, 2, 1, 0, 15, 14, 13, 12, 11, 10, 9, 8);
        Vector128<ulong> counter = Vector128.Create(high, low), one = Vector128.Create(0UL, 1);
        Vector128<byte> b0 = Ssse3.Shuffle(counter.AsByte(), bigEndian) ^ key;
        Vector128<byte> b1 = Ssse3.Shuffle((counter += one).AsByte(), bigEndian) ^ key;
        Vector128<byte> b2 = Ssse3.Shuffle((counter += one).AsByte(), bigEndian) ^ key;
        Vector128<byte> b3 = Ssse3.Shuffle((counter += one).AsByte(), bigEndian) ^ key;
        Vector128<byte> b4 = Ssse3.Shuffle((counter += one).AsByte(), bigEndian) ^ key;
        Vector128<byte> b5 = Ssse3.Shuffle((counter += one).AsByte(), bigEndian) ^ key;
        Vector128<byte> b6 = Ssse3.Shuffle((counter += one).AsByte(), bigEndian) ^ key;
        Vector128<byte> b7 = Ssse3.Shuffle((counter += one).AsByte(), bigEndian) ^ key;
        for (int round = 1; round < ScheduleLength - 1; round++)
        {
            key = keys[round];
            (b0, b1, b2, b3) = (Aes.Encrypt(b0, key), Aes.Encrypt(b1, key), Aes.Encrypt(b2, key), Aes.Encrypt(b3, key));
            (b4, b5, b6, b7) = (Aes.Encrypt(b4, key), Aes.Encrypt(b5, key), Aes.Encrypt(b6, key), Aes.Encrypt(b7, key));
        }

        key = keys[ScheduleLength - 1];
        blocks[7] = Aes.EncryptLast(b7, key);
        blocks[0] = Aes.EncryptLast(b0, key);
        blocks[1] = Aes.EncryptLast(b1, key);
        blocks[2] = Aes.EncryptLast(b2, key);
        blocks[3] = Aes.EncryptLast(b3, key);
        blocks[4] = Aes.EncryptLast(b4, key);
        blocks[5] = Aes.EncryptLast(b5, key);
        blocks[6] = Aes.EncryptLast(b6, key);
    }

    /// <summary>Key schedule of AES-128 (FIPS 197, section 5.2).</summary>
    private static void Expand(Vector128<byte> key, Span<Vector128<byte>> schedule)
    {
        schedule[0] = key;
        schedule[1] = key = Next(key, Aes.KeygenAssist(key, 0x01));
        schedule[2] = key = Next(key, Aes.KeygenAssist(key, 0x02));
        schedule[3] = key = Next(key, Aes.KeygenAssist(key, 0x04));
        schedule[4] = key = Next(key, Aes.KeygenAssist(key, 0x08));
        schedule[5] = key = Next(key, Aes.KeygenAssist(key, 0x10));
        schedule[6] = key = Next(key, Aes.KeygenAssist(key, 0x20));
        schedule[7] = key = Next(key, Aes.KeygenAssist(key, 0x40));
        schedule[8] = key = Next(key, Aes.KeygenAssist(key, 0x80));
        schedule[9] = key = Next(key, Aes.KeygenAssist(key, 0x1B));
        schedule[10] = Next(key, Aes.KeygenAssist(key, 0x36));

        // Each word is the sum of those before it in the old key and of the substituted last one.
        static Vector128<byte> Next(Vector128<byte> key, Vector128<byte> assist)
        {
            key ^= Sse2.ShiftLeftLogical128BitLane(key, 4);
            key ^= Sse2.ShiftLeftLogical128BitLane(key, 8);
            return key ^ Sse2.Shuffle(assist.AsUInt32(), 0xFF).AsByte();
        }
    }

    /// <summary>Four blocks of ChaCha20, of counters counter, counter + 1, ...; each lane of the vectors is a block.</summary>
    internal void ChaCha((uint A, uint B, uint C) nonce, uint counter, Span<uint> blocks)
    {
        ReadOnlySpan<uint> key = MemoryMarshal.Cast<Vector128<byte>, uint>(_schedule);
        Span<Vector128<uint>> start = stackalloc Vector128<uint>[16];
        (start[0], start[1]) = (Vector128.Create(0x61707865u), Vector128.Create(0x3320646eu));
        (start[2], start[3]) = (Vector128.Create(0x79622d32u), Vector128.Create(0x6b206574u));
        for (int i = 0; i < 8; i++)
            start[4 + i] = Vector128.Create(Little(key[i]));
        start[12] = Vector128.Create(counter) + Vector128.Create(0u, 1, 2, 3);
        (start[13], start[14], start[15]) = (Vector128.Create(nonce.A), Vector128.Create(nonce.B), Vector128.Create(nonce.C));

        // Sixteen variables and no array, so that they stay in registers.
        Vector128<uint> x0 = start[0], x1 = start[1], x2 = start[2], x3 = start[3], x4 = start[4], x5 = start[5], x6 = start[6], x7 = start[7];
        Vector128<uint> x8 = start[8], x9 = start[9], xA = start[10], xB = start[11], xC = start[12], xD = start[13], xE = start[14], xF = start[15];
        for (int round = 0; round < 10; round++)
        {
            QuarterRound(ref x0, ref x4, ref x8, ref xC);
            QuarterRound(ref x1, ref x5, ref x9, ref xD);
            QuarterRound(ref x2, ref x6, ref xA, ref xE);
            QuarterRound(ref x3, ref x7, ref xB, ref xF);
            QuarterRound(ref x0, ref x5, ref xA, ref xF);
            QuarterRound(ref x1, ref x6, ref xB, ref xC);
            QuarterRound(ref x2, ref x7, ref x8, ref xD);
            QuarterRound(ref x3, ref x4, ref x9, ref xE);
        }

        Put(start, blocks, 0, x0, x1, x2, x3);
        Put(start, blocks, 4, x4, x5, x6, x7);
        Put(start, blocks, 8, x8, x9, xA, xB);
        Put(start, blocks, 12, xC, xD, xE, xF);
        CryptographicOperations.ZeroMemory(MemoryMarshal.AsBytes(start));

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static void QuarterRound(ref Vector128<uint> a, ref Vector128<uint> b, ref Vector128<uint> c, ref Vector128<uint> d)
        {
            a += b;
            d = Rotate(d ^ a, 16);
            c += d;
            b = Rotate(b ^ c, 12);
            a += b;
            d = Rotate(d ^ a, 8);
            c += d;
            b = Rotate(b ^ c, 7);
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static Vector128<uint> Rotate(Vector128<uint> v, int count) => v << count | v >>> (32 - count);

        static void Put(ReadOnlySpan<Vector128<uint>> start, Span<uint> blocks, int at, Vector128<uint> a, Vector128<uint> b, Vector128<uint> c, Vector128<uint> d)
        {
            (a, b, c, d) = (a + start[at], b + start[at + 1], c + start[at + 2], d + start[at + 3]);
            for (int lane = 0; lane < ChaChaLanes; lane++)
            {
                (blocks[16 * lane + at], blocks[16 * lane + at + 1]) = (Little(a[lane]), Little(b[lane]));
                (blocks[16 * lane + at + 2], blocks[16 * lane + at + 3]) = (Little(c[lane]), Little(d[lane]));
            }
        }

        static uint Little(uint word) => BitConverter.IsLittleEndian ? word : BinaryPrimitives.ReverseEndianness(word);
    }

    /// <summary>One published block of each generator. AES: SP 800-38A, F.5.1; ChaCha20: RFC 8439, 2.3.2.</summary>
    private static bool KnownAnswers()
    {
        Span<Vector128<byte>> schedule = stackalloc Vector128<byte>[ScheduleLength];
        Span<byte> key = stackalloc byte[KeyLength], blocks = stackalloc byte[64 * ChaChaLanes];
        for (int i = 0; i < KeyLength; i++)
            key[i] = (byte)i;
        new KeyStream(key, schedule, aes: false).ChaCha((0x09000000, 0x4a000000, 0), 1, MemoryMarshal.Cast<byte, uint>(blocks));
        bool sound = blocks[..64].SequenceEqual(Convert.FromHexString(
            "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4ed2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e"));
        if (!HasAes)
            return sound;

        Convert.FromHexString("2b7e151628aed2a6abf7158809cf4f3c").CopyTo(key);
        new KeyStream(key, schedule, aes: true).EncryptCounters(0xf0f1f2f3f4f5f6f7, 0xf8f9fafbfcfdfeff, MemoryMarshal.Cast<byte, Vector128<byte>>(blocks));
        return sound && blocks[..16].SequenceEqual(Convert.FromHexString("ec8cdf7398607cb0f2d21675ea9ea1e4"));
    }
}

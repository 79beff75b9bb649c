using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace FedLearn.Alignment.Tests.Reference;

/// <summary>expand_message_xmd with SHA-512 as RFC 9380 section 5.3.1 writes it.</summary>
internal static class ReferenceHash
{
    private const int HashBytes = 64, BlockBytes = 128;

    public static byte[] ExpandMessageXmd(byte[] message, byte[] dst, int length)
    {
        if (dst.Length > 255)
            dst = SHA512.HashData([.. "H2C-OVERSIZE-DST-"u8, .. dst]);
        int ell = (length + HashBytes - 1) / HashBytes;
        ArgumentOutOfRangeException.ThrowIfGreaterThan(ell, 255);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, ushort.MaxValue);
        byte[] dstPrime = [.. dst, (byte)dst.Length], lengthBytes = new byte[2];
        BinaryPrimitives.WriteUInt16BigEndian(lengthBytes, (ushort)length);
        byte[] b0 = SHA512.HashData([.. new byte[BlockBytes], .. message, .. lengthBytes, 0, .. dstPrime]);
        byte[] last = SHA512.HashData([.. b0, 1, .. dstPrime]);
        List<byte> uniform = [.. last];
        for (int i = 2; i <= ell; i++)
        {
            last = SHA512.HashData([.. b0.Zip(last, (x, y) => (byte)(x ^ y)), (byte)i, .. dstPrime]);
            uniform.AddRange(last);
        }

        return [.. uniform.Take(length)];
    }

    public static byte[] ExpandMessageXmd(string message, string dst, int length) => ExpandMessageXmd(Encoding.ASCII.GetBytes(message), Encoding.ASCII.GetBytes(dst), length);
}

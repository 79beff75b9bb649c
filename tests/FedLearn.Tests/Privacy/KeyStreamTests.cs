using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Security.Cryptography;
using FedLearn.Privacy;

namespace FedLearn.Tests.Privacy;

public class KeyStreamTests
{
    private static readonly byte[] CountingKey = [.. Enumerable.Range(0, 32).Select(i => (byte)i)];

    [Fact]
    public void IsSound_ThisMachine_IsTrue() => Assert.True(KeyStream.IsSound);

    // NIST SP 800-38A, F.5.1: the output blocks of CTR-AES128.Encrypt.
    [Fact]
    public void Aes_Sp80038aVectors_AreReproduced()
    {
        Assert.SkipUnless(KeyStream.HasAes, "this processor has no AES instructions");
        var blocks = new Vector128<byte>[8];
        Stream(Convert.FromHexString("2b7e151628aed2a6abf7158809cf4f3c00000000000000000000000000000000"), aes: true)
            .EncryptCounters(0xf0f1f2f3f4f5f6f7, 0xf8f9fafbfcfdfeff, blocks);
        Assert.Equal("ec8cdf7398607cb0f2d21675ea9ea1e4362b7c3c6773516318a077d7fc5073ae6a2cc3787889374fbeb4c81b17ba6c44e89c399ff0f198c6d40a31db156cabfe",
            Convert.ToHexStringLower(MemoryMarshal.AsBytes(blocks.AsSpan(0, 4))));
    }

    [Fact]
    public void Aes_RandomKeys_AgreeWithTheSystemsAes()
    {
        Assert.SkipUnless(KeyStream.HasAes, "this processor has no AES instructions");
        var random = new Random(20090276);
        for (int run = 0; run < 50; run++)
        {
            var key = new byte[32];
            random.NextBytes(key);
            KeyStream stream = Stream(key, aes: true);
            ulong first = (ulong)random.NextInt64() / 64 * 32;
            var words = new ulong[64];
            stream.Leading(first, words);

            using Aes system = Aes.Create();
            system.Key = key[..16];
            byte[] counters = [.. Enumerable.Range(0, 32).SelectMany(i => Counter(0, first / 2 + (ulong)i))];
            Assert.Equal(Convert.ToHexString(system.EncryptEcb(counters, PaddingMode.None)), Convert.ToHexString(MemoryMarshal.AsBytes(words.AsSpan())));

            ulong draw = (ulong)random.NextInt64();
            int part = random.Next(1, 100);
            Assert.Equal(BitConverter.ToUInt64(system.EncryptEcb(Counter((ulong)part, draw), PaddingMode.None)), stream.Further(draw, part));
        }

        static byte[] Counter(ulong high, ulong low) => Convert.FromHexString($"{high:x16}{low:x16}");
    }

    // RFC 8439, section 2.3.2, and appendix A.1, vectors 1 and 2 (key and nonce 0, counters 0 and 1) and 4.
    [Theory]
    [InlineData(true, 0x09000000u, 0x4a000000u, 0u, 1u, "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4ed2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e")]
    [InlineData(false, 0u, 0u, 0u, 0u, "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586")]
    [InlineData(false, 0u, 0u, 0u, 1u, "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f")]
    [InlineData(false, 0u, 0u, 0x02000000u, 0u, "c2c64d378cd536374ae204b9ef933fcd1a8b2288b3dfa49672ab765b54ee27c78a970e0e955c14f3a88e741b97c286f75f8fc299e8148362fa198a39531bed6d")]
    public void ChaCha_Rfc8439Vectors_AreReproduced(bool countingKey, uint a, uint b, uint c, uint counter, string expected)
    {
        var blocks = new uint[64];
        Stream(countingKey ? CountingKey : new byte[32], aes: false).ChaCha((a, b, c), counter, blocks);
        Assert.Equal(expected, Convert.ToHexStringLower(MemoryMarshal.AsBytes(blocks.AsSpan(0, 16))));
    }

    [Fact]
    public void ChaCha_FourBlocks_AreThoseOfOneCounterEach()
    {
        KeyStream stream = Stream(CountingKey, aes: false);
        uint[] four = new uint[64], one = new uint[64];
        stream.ChaCha((7, 8, 9), 100, four);
        for (uint i = 0; i < 4; i++)
        {
            stream.ChaCha((7, 8, 9), 100 + i, one);
            Assert.Equal(one[..16], four[(int)(16 * i)..(int)(16 * i + 16)]);
        }
    }

    // O5: what a draw takes depends on its number alone, and no two requests share a word.
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Words_ByPosition_AreTheSameInAnyOrderAndNeverTwice(bool aes)
    {
        Assert.SkipUnless(KeyStream.HasAes || !aes, "this processor has no AES instructions");
        KeyStream stream = Stream(CountingKey, aes);
        ulong[] all = new ulong[1024], parts = new ulong[1024];
        stream.Leading(0, all);
        foreach (int at in new[] { 512, 0, 544, 32, 96, 576, 64 })
            stream.Leading((ulong)at, parts.AsSpan(at, 32));
        foreach (int at in new[] { 512, 0, 544, 32, 96, 576, 64 })
            Assert.Equal(all[at..(at + 32)], parts[at..(at + 32)]);

        var seen = new HashSet<ulong>(all);
        for (ulong draw = 0; draw < 512; draw++)
            for (int part = 1; part < 5; part++)
                Assert.True(seen.Add(stream.Further(draw, part)));
        Assert.Equal(1024 + 4 * 512, seen.Count);
    }

    private static KeyStream Stream(byte[] key, bool aes) => new(key, new Vector128<byte>[KeyStream.ScheduleLength], aes);
}

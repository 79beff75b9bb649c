using System.Buffers.Binary;
using System.Security.Cryptography;
using FedLearn.Aggregation;
using FedLearn.Tests.Shared;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Tests.Aggregation;

public class MaskStreamTests
{
    private static readonly Gen<(int Length, int Seed)> Cases =
        from length in Gen.OneOf(Gen.Choose(0, 40), Gen.Choose(4090, 4110), Gen.Choose(8180, 8200))
        from seed in Gen.Choose(0, int.MaxValue - 1)
        select (length, seed);

    private static byte[] Seed(int seed) => SHA256.HashData(BitConverter.GetBytes(seed));

    // One block at a time: counter in the low eight bytes.
    private static ulong[] Slow(byte[] seed, int length)
    {
        using var aes = Aes.Create();
        aes.Key = seed;
        ulong[] words = new ulong[length];
        for (int block = 0; 2 * block < length; block++)
        {
            byte[] counter = new byte[16];
            BinaryPrimitives.WriteUInt64LittleEndian(counter, (ulong)block);
            byte[] output = aes.EncryptEcb(counter, PaddingMode.None);
            for (int i = 0; i < 2 && 2 * block + i < length; i++)
                words[2 * block + i] = BinaryPrimitives.ReadUInt64LittleEndian(output.AsSpan(8 * i));
        }

        return words;
    }

    [Fact]
    public void Add_AnyLength_IsTheKeyStreamOneBlockAtATime() => Prop.ForAll(Cases.ToArbitrary(), drawn =>
    {
        ulong[] words = new ulong[drawn.Length];
        MaskStream.Add(Seed(drawn.Seed), words);
        Assert.Equal(Slow(Seed(drawn.Seed), drawn.Length), words);
    }).Check(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(40)));

    [Fact]
    public void Subtract_AfterAdd_GivesTheVectorBack() => Prop.ForAll(Cases.ToArbitrary(), drawn =>
    {
        ulong[] vector = new ulong[drawn.Length];
        Array.Fill(vector, ulong.MaxValue - 1);
        MaskStream.Add(Seed(drawn.Seed), vector);
        Assert.True(drawn.Length == 0 || Array.Exists(vector, word => word != ulong.MaxValue - 1));
        MaskStream.Subtract(Seed(drawn.Seed), vector);
        Assert.All(vector, word => Assert.Equal(ulong.MaxValue - 1, word));
    }).Check(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(40)));

    [Fact]
    public void Add_WrongSeedLength_IsRefused() => Assert.Throws<ArgumentOutOfRangeException>(() => MaskStream.Add(new byte[31], new ulong[1]));
}

using System.Text;
using FedLearn.Aggregation;
using FedLearn.Diagnostics;

namespace FedLearn.Tests.Aggregation;

public class SodiumTests
{
    private static byte[] Hex(string text) => Convert.FromHexString(text);

    // RFC 7748, section 5.2.
    [Theory]
    [InlineData("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4", "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
        "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552")]
    [InlineData("4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d", "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
        "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957")]
    public void Agree_Rfc7748Vectors_GivesTheirResult(string scalar, string point, string expected)
    {
        byte[] shared = new byte[32];
        Assert.True(Sodium.Agree(Hex(scalar), Hex(point), shared));
        Assert.Equal(Hex(expected), shared);
    }

    // RFC 7748, section 6.1.
    [Fact]
    public void Agree_Rfc7748DiffieHellman_BothSidesGetTheSharedSecret()
    {
        using var alice = new AgreementPair(Hex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"));
        using var bob = new AgreementPair(Hex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"));
        Assert.Equal(Hex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"), alice.PublicKey);
        Assert.Equal(Hex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"), bob.PublicKey);
        byte[] expected = Hex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"), shared = new byte[32];
        Assert.True(Sodium.Agree(alice.Secret, bob.PublicKey, shared));
        Assert.Equal(expected, shared);
        Assert.True(Sodium.Agree(bob.Secret, alice.PublicKey, shared));
        Assert.Equal(expected, shared);
    }

    // RFC 8032, section 7.1, tests 1 and 3.
    [Theory]
    [InlineData("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b")]
    [InlineData("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7", "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a")]
    public void Sign_Rfc8032Vectors_GivesTheirSignature(string seed, string publicKey, string message, string signature)
    {
        using var key = EnrolmentKey.FromSeed(Hex(seed));
        Assert.Equal(Hex(publicKey), key.PublicKey.ToArray());
        Assert.Equal(Hex(signature), key.Sign(Hex(message)));
        Assert.True(Sodium.Verify(Hex(message), Hex(signature), Hex(publicKey)));
    }

    [Fact]
    public void Verify_ChangedMessageSignatureOrKey_IsFalse()
    {
        using var key = EnrolmentKey.Create();
        using var other = EnrolmentKey.Create();
        byte[] message = Encoding.UTF8.GetBytes("list"), signature = key.Sign(message);
        byte[] changed = [.. signature];
        changed[3] ^= 1;
        Assert.True(Sodium.Verify(message, signature, key.PublicKey.Span));
        Assert.False(Sodium.Verify([.. message, 0], signature, key.PublicKey.Span));
        Assert.False(Sodium.Verify(message, changed, key.PublicKey.Span));
        Assert.False(Sodium.Verify(message, signature, other.PublicKey.Span));
        Assert.False(Sodium.Verify(message, signature.AsSpan(1), key.PublicKey.Span));
    }

    // Points of order 1, 2, 4 and 8 (Bernstein, "Curve25519: new Diffie-Hellman speed records"; the list of libsodium and of RFC 7748's security considerations).
    [Theory]
    [InlineData("0000000000000000000000000000000000000000000000000000000000000000")]
    [InlineData("0100000000000000000000000000000000000000000000000000000000000000")]
    [InlineData("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800")]
    [InlineData("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157")]
    [InlineData("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f")]
    public void Derive_LowOrderKey_IsRefused(string point)
    {
        using var pair = new AgreementPair();
        PeerException error = Assert.Throws<PeerException>(() => pair.Derive(Hex(point), default, default, new byte[32], "test"));
        Assert.Equal(AggregationErrors.UnusableKey, error.Id);
    }

    [Fact]
    public void Load_NoSuchLibrary_SaysHowToInstall()
    {
        InternalFailureException error = Assert.Throws<InternalFailureException>(() => Sodium.Load(["libfedlearn-absent.so.1"]));
        Assert.Equal(AggregationErrors.NoSodium, error.Id);
        Assert.Equal(6, error.ExitCode);
        Assert.Contains("eng/setup.sh aggregation", error.Remedy, StringComparison.Ordinal);
    }

    [Fact]
    public void FromSeed_WrongLength_IsRefused() => Assert.Throws<ArgumentException>(() => EnrolmentKey.FromSeed(new byte[31]));

    [Fact]
    public void Dispose_Pair_WipesTheSecret()
    {
        var pair = new AgreementPair();
        Assert.Contains(pair.Secret.ToArray(), value => value != 0);
        pair.Dispose();
        Assert.DoesNotContain(pair.Secret.ToArray(), value => value != 0);
    }
}

using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using FedLearn.Tests.Shared;
using FedLearn.Transport.Grpc;
using FsCheck;
using FsCheck.Fluent;

namespace FedLearn.Conformance.Tests;

/// <summary>Pins, the session's binding and certificates of trials.</summary>
public sealed class TlsPinTests
{
    [Fact]
    public void TryParse_AnyHashInAnySpelling_IsThatHash() => Prop.ForAll(ArbMap.Default.ArbFor<byte[]>(), ArbMap.Default.ArbFor<bool>(), ArbMap.Default.ArbFor<bool>(), (bytes, upper, colons) =>
    {
        byte[] hash = SHA256.HashData(bytes);
        string hex = Convert.ToHexStringLower(hash), text = colons ? string.Join(':', hash.Select(b => b.ToString("x2", null))) : hex;
        text = "sha256:" + (upper ? text.ToUpperInvariant() : text);
        return CertificatePin.TryParse(text, out CertificatePin pin) && pin.ToString() == "sha256:" + hex && CertificatePin.TryParse(pin.ToString(), out CertificatePin again) && again == pin;
    }).Check(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(200)));

    [Fact]
    public void TryParse_OneCharacterChanged_IsAnotherPinOrNone() => Prop.ForAll(ArbMap.Default.ArbFor<byte>(), ArbMap.Default.ArbFor<char>(), ArbMap.Default.ArbFor<bool>(), (place, character, colons) =>
    {
        string hex = Convert.ToHexStringLower(SHA256.HashData([place])), text = "sha256:" + (colons ? string.Join(':', hex.Chunk(2).Select(c => new string(c))) : hex);
        int at = place % text.Length;
        string changed = text[..at] + character + text[(at + 1)..];
        Assert.True(CertificatePin.TryParse(text, out CertificatePin pin));
        bool same = string.Equals(text, changed, StringComparison.OrdinalIgnoreCase);
        return CertificatePin.TryParse(changed, out CertificatePin other) ? same == (other == pin) : !same && other == default;
    }).Check(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(1000)));

    [Fact]
    public void TryParse_AnyText_NeverThrows() => Prop.ForAll(ArbMap.Default.ArbFor<string>(), text =>
        !CertificatePin.TryParse(text, out CertificatePin pin) && !CertificatePin.TryParse("sha256:" + text, out _) && pin == default).Check(Config.QuickThrowOnFailure.WithMaxTest(TestCounts.Of(500)));

    [Fact]
    public void TryParse_ColonsInSomePlacesOnly_IsNone()
    {
        string hex = Convert.ToHexStringLower(SHA256.HashData([1]));
        Assert.All((string?[])[null, "", "sha256:", hex, "sha256:" + hex[..62], "sha256:" + hex + "00", "sha1:" + hex, $"sha256:{hex[..2]}:{hex[2..]}", "sha256:" + string.Join(':', hex.Chunk(4).Select(c => new string(c))),
            "sha256: " + hex, "sha256:" + hex[..63] + "g", $"sha256:{new string(':', 31)}{hex}"], text => Assert.False(CertificatePin.TryParse(text, out _), text));
    }

    [Fact]
    public void Matches_KeyOrCertificate_AndNothingElse()
    {
        X509Certificate2 bank = TlsPeers.Of("bank"), telco = TlsPeers.Of("telco");
        Assert.True(CertificatePin.OfKey(bank).Matches(bank));
        Assert.True(CertificatePin.OfCertificate(bank).Matches(bank));
        Assert.NotEqual(CertificatePin.OfKey(bank), CertificatePin.OfCertificate(bank));
        Assert.False(CertificatePin.OfKey(bank).Matches(telco));
        Assert.False(CertificatePin.OfCertificate(bank).Matches(telco));
        Assert.False(default(CertificatePin).Matches(bank));
        // What openssl x509 -pubkey | openssl pkey -pubin -outform der | sha256sum prints.
        Assert.Equal("sha256:" + Convert.ToHexStringLower(SHA256.HashData(bank.GetECDsaPublicKey()!.ExportSubjectPublicKeyInfo())), CertificatePin.OfKey(bank).ToString());
    }

    [Fact]
    public void Binding_ByHand_IsTheHashOfTheParts()
    {
        byte[] Part(byte value) => [.. Enumerable.Repeat(value, 32)];
        byte[] all = [.. "FedLearn session binding v1"u8, .. Part(1), .. Part(2), .. Part(3), 4, 0, 0, 0, .. "ab12"u8, .. Part(4), .. Part(5)];
        Assert.Equal(SHA256.HashData(all), SessionBinding.Of(Part(1), Part(2), Part(3), "ab12", Part(4), Part(5)));
        Assert.Throws<ArgumentException>(() => SessionBinding.Of(Part(1), Part(2), Part(3), "ab12", Part(4), new byte[31]));
    }

    [Theory]
    [InlineData("telco", true)]
    [InlineData("kräuter & co", false)]
    [InlineData("bank.example", false)]
    [InlineData("10", false)]
    [InlineData("-x", false)]
    public void TrialCertificate_AnyName_BearsItAndServesBothSides(string name, bool dns)
    {
        X509Certificate2 made = TlsPeers.Make(name, TimeProvider.System);
        Assert.True(made.HasPrivateKey);
        Assert.Equal(dns ? [name, name] : [name], CertificateNames.Of(made));
        Assert.Equal((string[])["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"], made.Extensions.OfType<X509EnhancedKeyUsageExtension>().Single().EnhancedKeyUsages.Cast<Oid>().Select(o => o.Value));
        Assert.False(made.Extensions.OfType<X509BasicConstraintsExtension>().Single().CertificateAuthority);
        Assert.InRange((made.NotAfter - made.NotBefore).TotalDays, 90, 90.1);
        Assert.Null(PeerVerifier.Outside(TimeProvider.System, made));
        Assert.Contains("has expired", PeerVerifier.Outside(new ShiftedClock(TimeSpan.FromDays(91)), made), StringComparison.Ordinal);
        Assert.Contains("not valid before", PeerVerifier.Outside(new ShiftedClock(TimeSpan.FromDays(-1)), made), StringComparison.Ordinal);
    }

    [Fact]
    public void Names_SeveralCommonNames_AreNone()
    {
        IReadOnlyList<string> NamesOf(params string[] names)
        {
            var subject = new X500DistinguishedNameBuilder();
            foreach (string name in names)
                subject.AddCommonName(name);
            using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
            using X509Certificate2 made = new CertificateRequest(subject.Build(), key, HashAlgorithmName.SHA256).CreateSelfSigned(DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch.AddDays(1));
            return CertificateNames.Of(made);
        }

        Assert.Equal(["telco"], NamesOf("telco"));
        Assert.Empty(NamesOf("telco", "bank"));
    }

    [Fact]
    public void TrialCertificate_TwiceForOneName_HasAnotherKeyAndSerial()
    {
        X509Certificate2 first = TlsPeers.Make("telco", TimeProvider.System), second = TlsPeers.Make("telco", TimeProvider.System);
        Assert.NotEqual(CertificatePin.OfKey(first), CertificatePin.OfKey(second));
        Assert.NotEqual(first.SerialNumber, second.SerialNumber);
        Assert.Throws<ArgumentException>(() => TrialCertificate.Create(" ", TimeSpan.FromDays(1), TimeProvider.System));
        Assert.Throws<ArgumentOutOfRangeException>(() => TrialCertificate.Create("x", TimeSpan.Zero, TimeProvider.System));
    }
}

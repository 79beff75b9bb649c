using System.Collections;
using System.Formats.Asn1;
using System.Reflection;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using FedLearn.Diagnostics;
using FedLearn.Transport.Grpc;

namespace FedLearn.Conformance.Tests;

/// <summary>Certificates, keys and revocation lists from files, settings that cannot work, and secrets that must not be printed.</summary>
public sealed class TlsFileTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("fedlearn-tls").FullName;

    private static DateTimeOffset Now => TimeProvider.System.GetUtcNow();

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private string Write(string name, string text, UnixFileMode mode = UnixFileMode.UserRead | UnixFileMode.UserWrite)
    {
        string path = Path.Combine(_folder, name);
        File.WriteAllText(path, text);
        if (!OperatingSystem.IsWindows())
            File.SetUnixFileMode(path, mode);
        return path;
    }

    private string Write(string name, byte[] content)
    {
        string path = Path.Combine(_folder, name);
        File.WriteAllBytes(path, content);
        return path;
    }

    private static string IdOf(Func<object> action) => Assert.Throws<ConfigurationException>(() => action()).Id;

    [Fact]
    public void LoadCertificate_OfTheTool_HasItsKey()
    {
        (string certificate, string key) = TrialCertificate.Create("telco", TimeSpan.FromDays(1), TimeProvider.System);
        string certificatePath = Write("telco.crt", certificate), keyPath = Write("telco.key", key);
        X509Certificate2 loaded = GrpcSecurity.LoadCertificate(certificatePath, keyPath);
        Assert.True(loaded.HasPrivateKey);
        Assert.Equal(certificate.Trim(), loaded.ExportCertificatePem().Trim());
        Assert.True(GrpcSecurity.LoadCertificate(Write("both.pem", key + certificate), Path.Combine(_folder, "both.pem")).HasPrivateKey);
        Assert.Equal(loaded.RawData, GrpcSecurity.LoadCertificates(certificatePath).Single().RawData);
        Assert.Equal(loaded.RawData, GrpcSecurity.LoadCertificates(Write("telco.der", loaded.RawData)).Single().RawData);
        Assert.Equal(2, GrpcSecurity.LoadCertificates(Write("two.pem", certificate + TlsPeers.Of("bank").ExportCertificatePem())).Count);
    }

    [Fact]
    public void LoadCertificate_FilesThatDoNot_SayWhichAndWhy()
    {
        (string certificate, string key) = TrialCertificate.Create("telco", TimeSpan.FromDays(1), TimeProvider.System);
        (_, string otherKey) = TrialCertificate.Create("telco", TimeSpan.FromDays(1), TimeProvider.System);
        using var rsa = RSA.Create(2048);
        using var ecdsa = ECDsa.Create();
        string good = Write("good.crt", certificate), goodKey = Write("good.key", key);
        foreach ((string certificatePath, string keyPath, string blamed) in (ValueTuple<string, string, string>[])[
            (Path.Combine(_folder, "absent"), goodKey, "absent"),
            (good, Path.Combine(_folder, "absent"), "absent"),
            (_folder, goodKey, _folder),
            (Write("empty", ""), goodKey, "empty"),
            (goodKey, goodKey, "good.key"),
            (good, good, "good.crt"),
            (good, Write("other.key", otherKey), "other.key"),
            (good, Write("rsa.key", rsa.ExportPkcs8PrivateKeyPem()), "rsa.key"),
            (good, Write("cut.key", key[..60] + "\n-----END PRIVATE " + "KEY-----"), "cut.key"),
            (good, Write("encrypted.key", ecdsa.ExportEncryptedPkcs8PrivateKeyPem("p", new PbeParameters(PbeEncryptionAlgorithm.Aes256Cbc, HashAlgorithmName.SHA256, 1))), "encrypted.key"),
            (Write("cut.crt", certificate[..80] + "\n-----END CERTIFICATE-----"), goodKey, "good.key")])
        {
            ConfigurationException error = Assert.Throws<ConfigurationException>(() => GrpcSecurity.LoadCertificate(certificatePath, keyPath));
            Assert.Equal(GrpcErrors.CertificateUnusable, error.Id);
            Assert.Contains(blamed, error.Message, StringComparison.Ordinal);
            Assert.DoesNotContain(key.Split('\n')[1], error.ToString(), StringComparison.Ordinal);
        }

        Assert.Equal("it holds no private key in PEM.", Assert.Throws<ConfigurationException>(() => GrpcSecurity.LoadCertificate(good, Write("no.key", "hello"))).Cause);
        Assert.Equal(GrpcErrors.CertificateUnusable, IdOf(() => GrpcSecurity.LoadCertificates(Write("text", "hello"))));
    }

    [Theory]
    [InlineData(UnixFileMode.UserRead, true)]
    [InlineData(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead, true)] // as service managers hand keys over
    [InlineData(UnixFileMode.UserRead | UnixFileMode.OtherRead, false)]
    [InlineData(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead, false)]
    [InlineData(UnixFileMode.UserRead | UnixFileMode.GroupWrite, false)]
    [InlineData(UnixFileMode.UserRead | UnixFileMode.OtherWrite, false)]
    public void LoadCertificate_KeyThatOthersMayRead_IsRefused(UnixFileMode mode, bool accepted)
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows has no such modes.");
        (string certificate, string key) = TrialCertificate.Create("telco", TimeSpan.FromDays(1), TimeProvider.System);
        string certificatePath = Write("a.crt", certificate), keyPath = Write("a.key", key, mode), link = Path.Combine(_folder, "link");
        File.CreateSymbolicLink(link, keyPath);
        foreach (string path in new[] { keyPath, link }) // a link has mode 777 itself
            if (accepted)
                Assert.True(GrpcSecurity.LoadCertificate(certificatePath, path).HasPrivateKey);
            else
                Assert.Equal(GrpcErrors.KeyExposed, IdOf(() => GrpcSecurity.LoadCertificate(certificatePath, path)));
    }

    [Fact]
    public void RevocationList_PemOrDer_RevokesWhatItListsAndNothingElse()
    {
        TestAuthority authority = new(), stranger = new("Another Authority");
        stranger.Issue("a", dns: "a"); // so that the next has a revoked serial number
        X509Certificate2 good = authority.Issue("a", dns: "a"), bad = authority.Issue("b", dns: "b"), worse = authority.Issue("c", dns: "c"), strange = stranger.Issue("b", dns: "b");
        Assert.Equal(bad.SerialNumber, strange.SerialNumber);
        byte[] der = authority.Revoke(Now.AddHours(-1), Now.AddHours(1), bad, worse);
        foreach (string path in new[] { Write("list.der", der), Write("list.pem", "some text\n" + PemEncoding.WriteString("X509 CRL", der) + "\n") })
        {
            RevocationList list = RevocationList.Load(path);
            Assert.Equal(2, list.Count);
            Assert.Equal([false, true, true, false], new[] { good, bad, worse, strange }.Select(list.Revokes));
            Assert.True(list.IsCurrent(Now));
            Assert.InRange(list.NextUpdate!.Value, Now.AddMinutes(50), Now.AddMinutes(70));
            Assert.True(list.IsSignedBy([authority.Public]));
            Assert.Null(list.IsSignedBy([stranger.Public]));
            Assert.False(list.IsSignedBy([new TestAuthority().Public])); // of the same name
        }

        Assert.Equal(0, RevocationList.Load(Write("none", authority.Revoke(Now, Now.AddHours(1)))).Count);
    }

    [Fact]
    public void RevocationList_SeveralInAFile_AreAllRead()
    {
        TestAuthority[] authorities = [new("First"), new("Second"), new("Third")];
        X509Certificate2[] bad = [.. authorities.Select(a => a.Issue("b", dns: "b"))];
        string[] blocks = [.. authorities.Select((a, i) => PemEncoding.WriteString("X509 CRL", a.Revoke(Now.AddHours(-1), Now.AddHours(1), bad[i])))];
        const string Text = "Certificate Revocation List (CRL):\n        Version 2 (0x1)\n    Signature Value:\n        30:45:02\n";
        foreach (string content in (string[])[string.Join("\n", blocks), string.Concat(blocks.Select(block => Text + block + "\n")) + "the end\n", string.Join("\r\n", blocks) + "\r\n"])
        {
            string path = Write("lists.pem", content);
            IReadOnlyList<RevocationList> lists = RevocationList.LoadAll(path);
            Assert.Equal(3, lists.Count);
            foreach ((int index, RevocationList list) in lists.Index())
            {
                Assert.Equal(bad.Select((_, i) => i == index), bad.Select(list.Revokes));
                Assert.True(list.IsSignedBy([authorities[index].Public]));
                Assert.Contains($"lists.pem, list {index + 1}", list.Stale(Now).Message, StringComparison.Ordinal);
            }

            Assert.Equal(GrpcErrors.RevocationListUnusable, IdOf(() => RevocationList.Load(path)));
        }
    }

    [Fact]
    public void RevocationList_FileWithSomethingElse_IsRefused()
    {
        var authority = new TestAuthority();
        byte[] der = authority.Revoke(Now.AddHours(-1), Now.AddHours(1), authority.Issue("b", dns: "b"));
        string list = PemEncoding.WriteString("X509 CRL", der) + "\n", certificate = authority.Public.ExportCertificatePem() + "\n", half = list[..(list.Length / 2)];
        foreach (string content in (string[])[certificate, certificate + list, list + certificate, list + certificate + list, half, half + "\n" + list, list + half, list + half + "\n" + list,
            list + list[(list.Length / 2)..], list + list.Replace("-----END", "----END", StringComparison.Ordinal), list + list.Replace("BEGIN X509 CRL", "BEGIN X509 CLR", StringComparison.Ordinal),
            list + list.Replace("X509 CRL", "CRL", StringComparison.Ordinal), list + list.Insert(40, "!")])
            Assert.Equal(GrpcErrors.RevocationListUnusable, IdOf(() => RevocationList.LoadAll(Write("list.pem", content))));
        Assert.Equal(GrpcErrors.RevocationListUnusable, IdOf(() => RevocationList.LoadAll(Write("two.der", [.. der, .. der]))));
        Assert.Equal(GrpcErrors.RevocationListUnusable, IdOf(() => RevocationList.LoadAll(Write("two.pem", PemEncoding.WriteString("X509 CRL", [.. der, .. der])))));
        // Something more behind the signature, or behind the last part of what is signed.
        byte[][] parts = Parts(der);
        Assert.Equal(GrpcErrors.RevocationListUnusable, IdOf(() => RevocationList.LoadAll(Write("more.der", Sequence([.. parts, [5, 0]])))));
        Assert.Equal(GrpcErrors.RevocationListUnusable, IdOf(() => RevocationList.LoadAll(Write("within.der", Sequence([Sequence([.. Parts(parts[0]), [5, 0]]), .. parts[1..]])))));
        Assert.Equal(1, RevocationList.Load(Write("same.der", Sequence([Sequence(Parts(parts[0])), .. parts[1..]]))).Count);

        static byte[][] Parts(byte[] sequence)
        {
            var parts = new List<byte[]>();
            for (AsnReader reader = new AsnReader(sequence, AsnEncodingRules.DER).ReadSequence(); reader.HasData;)
                parts.Add(reader.ReadEncodedValue().ToArray());
            return [.. parts];
        }

        static byte[] Sequence(byte[][] parts)
        {
            var writer = new AsnWriter(AsnEncodingRules.DER);
            using (writer.PushSequence())
                foreach (byte[] part in parts)
                    writer.WriteEncodedValue(part);
            return writer.Encode();
        }
    }

    [Theory]
    [InlineData(-2, -1, "it was good until ")]
    [InlineData(1, 2, "it is from the future.")]
    public void Check_ListThatIsNotInForce_SaysWhetherItsTimeIsOverOrStillToCome(int from, int until, string cause)
    {
        var authority = new TestAuthority();
        GrpcSecurity security = new() { Certificate = TlsPeers.Of("bank"), Authorities = [authority.Public], RevocationLists = [RevocationList.Load(Write("list", authority.Revoke(Now.AddDays(from), Now.AddDays(until))))] };
        var error = Assert.Throws<ConfigurationException>(security.Check);
        Assert.Equal(GrpcErrors.RevocationListStale, error.Id);
        Assert.StartsWith(cause, error.Cause, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    public void RevocationList_CriticalExtension_IsRefused(bool ofTheList, bool ofAnEntry)
    {
        var authority = new TestAuthority();
        string path = Write("partial", PartialList(authority.Certificate.SubjectName, ofTheList, ofAnEntry));
        if (!ofTheList && !ofAnEntry)
        {
            Assert.Equal(1, RevocationList.Load(path).Count);
            return;
        }

        ConfigurationException error = Assert.Throws<ConfigurationException>(() => RevocationList.Load(path));
        Assert.Equal(GrpcErrors.RevocationListUnusable, error.Id);
        Assert.Contains(ofTheList ? "2.5.29.27" : "2.5.29.29", error.Message, StringComparison.Ordinal);
    }

    // With the marks of a list of changes (RFC 5280, 5.2.4), and of an entry of another authority's (5.3.3).
    private static byte[] PartialList(X500DistinguishedName issuer, bool criticalList, bool criticalEntry)
    {
        const string EcdsaWithSha256 = "1.2.840.10045.4.3.2", Changes = "2.5.29.27", CertificateIssuer = "2.5.29.29";
        var writer = new AsnWriter(AsnEncodingRules.DER);
        void Algorithm()
        {
            using (writer.PushSequence())
                writer.WriteObjectIdentifier(EcdsaWithSha256);
        }

        void Extension(string id, bool critical)
        {
            using (writer.PushSequence())
            using (writer.PushSequence())
            {
                writer.WriteObjectIdentifier(id);
                if (critical)
                    writer.WriteBoolean(true);
                writer.WriteOctetString([2, 1, 1]);
            }
        }

        using (writer.PushSequence())
        {
            using (writer.PushSequence())
            {
                writer.WriteInteger(1); // version 2
                Algorithm();
                writer.WriteEncodedValue(issuer.RawData);
                writer.WriteUtcTime(Now.AddHours(-1));
                writer.WriteUtcTime(Now.AddHours(1));
                using (writer.PushSequence())
                using (writer.PushSequence())
                {
                    writer.WriteInteger(1001);
                    writer.WriteUtcTime(Now.AddHours(-1));
                    Extension(CertificateIssuer, criticalEntry);
                }

                using (writer.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 0)))
                    Extension(Changes, criticalList);
            }

            Algorithm();
            writer.WriteBitString([1]);
        }

        return writer.Encode();
    }

    [Fact]
    public void RevocationList_CutOrChanged_IsRefusedOrNotSigned()
    {
        var authority = new TestAuthority();
        byte[] der = authority.Revoke(Now.AddHours(-1), Now.AddHours(1), authority.Issue("b", dns: "b"));
        int read = 0;
        for (int at = 0; at < der.Length; at++)
        {
            Assert.Equal(GrpcErrors.RevocationListUnusable, IdOf(() => RevocationList.Load(Write("cut", der[..at]))));
            byte[] changed = [.. der];
            changed[at] ^= 0x41;
            try
            {
                Assert.NotEqual(true, RevocationList.Load(Write("changed", changed)).IsSignedBy([authority.Public]));
                read++;
            }
            catch (ConfigurationException e)
            {
                Assert.Equal(GrpcErrors.RevocationListUnusable, e.Id);
            }
        }

        Assert.True(read > 50, "Most changes leave a list that can be read.");
        foreach (byte[] content in (byte[][])[[], [0x30], "hello"u8.ToArray(), authority.Certificate.RawData])
            Assert.Equal(GrpcErrors.RevocationListUnusable, IdOf(() => RevocationList.Load(Write("no", content))));
        Assert.Equal(GrpcErrors.RevocationListUnusable, IdOf(() => RevocationList.Load(Path.Combine(_folder, "absent"))));
        Assert.Equal(GrpcErrors.RevocationListUnusable, IdOf(() => RevocationList.Load(_folder)));
    }

    [Fact]
    public void RevocationList_SignedWithRsa_IsVerified()
    {
        using var key = RSA.Create(2048);
        var request = new CertificateRequest("CN=Rsa Authority", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));
        using X509Certificate2 authority = request.CreateSelfSigned(Now.AddDays(-1), Now.AddDays(1));
        var list = new CertificateRevocationListBuilder();
        list.AddEntry([1, 2, 3]);
        foreach (HashAlgorithmName hash in new[] { HashAlgorithmName.SHA256, HashAlgorithmName.SHA384, HashAlgorithmName.SHA512 })
            Assert.True(RevocationList.Load(Write("rsa", list.Build(authority, 1, Now.AddHours(1), hash, RSASignaturePadding.Pkcs1, Now.AddHours(-1)))).IsSignedBy([authority]));
        Assert.Equal(GrpcErrors.RevocationListUnusable, IdOf(() => RevocationList.Load(Write("pss", list.Build(authority, 1, Now.AddHours(1), HashAlgorithmName.SHA256, RSASignaturePadding.Pss, Now.AddHours(-1))))
            .IsSignedBy([authority])!));
    }

    /// <summary>Settings that cannot work, and their errors.</summary>
    public static TheoryData<string, string> Unworkable => new()
    {
        { "no key", GrpcErrors.CertificateUnusable },
        { "own certificate expired", GrpcErrors.CertificateUnusable },
        { "own certificate not yet valid", GrpcErrors.CertificateUnusable },
        { "no peers", GrpcErrors.InvalidSecurity },
        { "peer without pin", GrpcErrors.InvalidSecurity },
        { "authority that another signed", GrpcErrors.InvalidSecurity },
        { "stale list", GrpcErrors.RevocationListStale },
        { "list from the future", GrpcErrors.RevocationListStale },
        { "forged list", GrpcErrors.RevocationListUnusable },
    };

    [Theory]
    [MemberData(nameof(Unworkable))]
    public async Task Start_SettingsThatCannotWork_AreRefusedOnBothSidesBeforeAnythingIsSent(string what, string id)
    {
        GrpcSecurity good = TlsPeers.Security("bank", "telco");
        TestAuthority authority = new(), impostor = new();
        RevocationList List(TestAuthority by, int from, int until) => RevocationList.Load(Write(Path.GetRandomFileName(), by.Revoke(Now.AddHours(from), Now.AddHours(until))));
        GrpcSecurity With(RevocationList list) => new() { Certificate = good.Certificate, Authorities = [authority.Public], RevocationLists = [list] };
        GrpcSecurity bad = what switch
        {
            "no key" => new() { Certificate = X509CertificateLoader.LoadCertificate(good.Certificate.RawData), Peers = good.Peers },
            "own certificate expired" => new() { Certificate = TlsPeers.Make("bank", new ShiftedClock(TimeSpan.FromDays(-91))), Peers = good.Peers },
            "own certificate not yet valid" => new() { Certificate = TlsPeers.Make("bank", new ShiftedClock(TimeSpan.FromDays(1))), Peers = good.Peers },
            "no peers" => new() { Certificate = good.Certificate },
            "peer without pin" => new() { Certificate = good.Certificate, Peers = new Dictionary<string, IReadOnlyList<CertificatePin>> { ["telco"] = [] } },
            "authority that another signed" => new() { Certificate = good.Certificate, Authorities = [authority.Issue("x", dns: "x")] },
            "stale list" => With(List(authority, -3, -1)),
            "list from the future" => With(List(authority, 1, 3)),
            _ => With(List(impostor, -1, 1)),
        };
        ConfigurationException host = await Assert.ThrowsAsync<ConfigurationException>(() => GrpcFederationHost.StartAsync(TlsPeers.Host(bad), GrpcPairs.Terms("telco")));
        Assert.True(id == host.Id, host.Message);
        // Nobody listens there: what is wrong with the settings comes first.
        ConfigurationException client = await Assert.ThrowsAsync<ConfigurationException>(() => GrpcFederationClient.JoinAsync(new Uri("https://127.0.0.1:1"), GrpcPairs.Request("telco"), TlsPeers.Client(bad, "bank")));
        Assert.Equal(id, client.Id);
    }

    [Fact]
    public async Task Addresses_SchemeAndSecurityThatDoNotFit_AreRefused()
    {
        GrpcSecurity security = TlsPeers.Security("telco", "bank", "clinic");
        async Task<string> HostIdAsync(GrpcHostOptions options) => (await Assert.ThrowsAnyAsync<FedLearnException>(() => GrpcFederationHost.StartAsync(options, GrpcPairs.Terms("telco")))).Id;
        async Task<string> ClientIdAsync(string address, GrpcClientOptions options) =>
            (await Assert.ThrowsAnyAsync<FedLearnException>(() => GrpcFederationClient.JoinAsync(new Uri(address), GrpcPairs.Request("telco"), options))).Id;
        Assert.Equal(GrpcErrors.InvalidSecurity, await HostIdAsync(new() { Listen = TlsPeers.Listen }));
        Assert.Equal(GrpcErrors.InvalidSecurity, await HostIdAsync(new() { Security = security }));
        Assert.Equal(GrpcErrors.InvalidSecurity, await HostIdAsync(new() { Listen = new("http://0.0.0.0:0"), Security = security, AllowPlaintext = true }));
        Assert.Equal(GrpcErrors.PlaintextRefused, await HostIdAsync(new() { Listen = new("http://0.0.0.0:0") }));
        Assert.Equal(GrpcErrors.InvalidSecurity, await ClientIdAsync("https://192.0.2.1:9", new()));
        Assert.Equal(GrpcErrors.InvalidSecurity, await ClientIdAsync("http://127.0.0.1:9", new() { Security = security, Peer = "bank" }));
        Assert.Equal(GrpcErrors.InvalidSecurity, await ClientIdAsync("https://127.0.0.1:9", new() { Security = security })); // which of the two
        Assert.Equal(GrpcErrors.PlaintextRefused, await ClientIdAsync("http://192.0.2.1:9", new()));
        Assert.True(GrpcAddress.TryParse("192.0.2.1:9", allowPlaintext: true, out Uri? address));
        Assert.Equal("http", address!.Scheme);
    }

    [Fact]
    public void ToString_OfEveryPublicOption_ShowsNoCertificateKeyOrPassword()
    {
        (string certificate, string key) = TrialCertificate.Create("telco", TimeSpan.FromDays(1), TimeProvider.System);
        using X509Certificate2 own = X509Certificate2.CreateFromPem(certificate, key);
        var security = new GrpcSecurity { Certificate = own, Peers = TlsPeers.Peer("bank", TlsPeers.Of("bank")) };
        string[] secrets = [.. key.Split('\n').Concat(certificate.Split('\n')).Where(line => line.Length > 20 && line[0] != '-'), own.Thumbprint, own.SerialNumber];
        foreach (object options in (object[])[security, new GrpcHostOptions { Security = security }, new GrpcClientOptions { Security = security },
            new GrpcRejoinOptions { Client = new GrpcClientOptions { Security = security } }, new FedLearnOptions { Security = security }])
        {
            string text = options.ToString()!;
            Assert.DoesNotContain(secrets, secret => text.Contains(secret, StringComparison.OrdinalIgnoreCase));
        }

        // Whatever a public record prints by itself is neither a certificate, a key, bytes nor named a secret.
        string[] names = ["password", "secret", "privatekey", "passphrase", "keypem", "token"];
        Type[] records = [.. new[] { typeof(GrpcHostOptions).Assembly, typeof(FedLearn.Coordination.JoinRequest).Assembly, typeof(FedLearn.Privacy.Payload).Assembly }.SelectMany(a => a.GetExportedTypes())
            .Where(t => t.GetMethod("<Clone>$") is not null || t.GetMethod("PrintMembers", BindingFlags.Instance | BindingFlags.NonPublic) is not null)];
        Assert.True(records.Length > 30, $"{records.Length} records");
        foreach (Type record in records.Where(r => r.GetMethod("ToString", Type.EmptyTypes) is { } m && m.IsDefined(typeof(System.Runtime.CompilerServices.CompilerGeneratedAttribute))))
            foreach (PropertyInfo property in record.GetProperties(BindingFlags.Instance | BindingFlags.Public))
            {
                Type type = property.PropertyType;
                Assert.False(typeof(X509Certificate).IsAssignableFrom(type) || typeof(AsymmetricAlgorithm).IsAssignableFrom(type), $"{record.Name}.{property.Name}");
                if (type == typeof(string) || typeof(IEnumerable).IsAssignableFrom(type))
                    Assert.False(names.Any(n => property.Name.Contains(n, StringComparison.OrdinalIgnoreCase)), $"{record.Name}.{property.Name}");
            }
    }
}

using System.Collections.Concurrent;
using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Threading.Channels;
using FedLearn.Diagnostics;
using FedLearn.Protocol;
using FedLearn.Testing;
using FedLearn.Transport.Grpc;
using ChannelOptions = FedLearn.Protocol.ChannelOptions;

namespace FedLearn.Conformance.Tests;

/// <summary>Certificates and securities of the parties of <see cref="GrpcPairs"/>. Keys are made once for the whole process.</summary>
internal static class TlsPeers
{
    /// <summary>What a stranger checks of a certificate: that there is one.</summary>
    public static bool Anybody(object sender, X509Certificate? certificate, X509Chain? chain, SslPolicyErrors errors) => certificate is not null;

    private static readonly ConcurrentDictionary<string, Lazy<X509Certificate2>> Known = new();

    public static Uri Listen { get; } = new("https://127.0.0.1:0");

    /// <summary>A party's valid certificate.</summary>
    public static X509Certificate2 Of(string name) => Known.GetOrAdd(name, n => new(() => Make(n, TimeProvider.System))).Value;

    /// <summary>A new certificate of a party, made at some time.</summary>
    public static X509Certificate2 Make(string name, TimeProvider clock, TimeSpan? lifetime = null)
    {
        (string certificate, string key) = TrialCertificate.Create(name, lifetime ?? TrialCertificate.DefaultLifetime, clock);
        return X509Certificate2.CreateFromPem(certificate, key);
    }

    /// <summary>A party that knows the valid certificates of others.</summary>
    public static GrpcSecurity Security(string own, params string[] peers) =>
        new() { Certificate = Of(own), Peers = peers.ToDictionary(p => p, p => Pins(Of(p))) };

    public static IReadOnlyList<CertificatePin> Pins(params X509Certificate2[] certificates) => [.. certificates.Select(CertificatePin.OfKey)];

    public static Dictionary<string, IReadOnlyList<CertificatePin>> Peer(string name, X509Certificate2 certificate) => new() { [name] = Pins(certificate) };

    public static GrpcHostOptions Host(GrpcSecurity security, ChannelOptions? channel = null) => new() { Listen = Listen, Security = security, Channel = channel ?? new ChannelOptions() };

    public static GrpcClientOptions Client(GrpcSecurity security, string? peer = null, ChannelOptions? channel = null) =>
        new() { Security = security, Peer = peer, Channel = channel ?? new ChannelOptions(), JoinTimeout = ChannelConformance.Patience, ConnectTimeout = ChannelConformance.Patience };

    /// <summary>A connected pair over TLS; the active party's end is the first unless exchanged.</summary>
    public static async Task<ChannelPair> CreateAsync(ChannelOptions options, bool passiveFirst = false)
    {
        GrpcFederationHost host = await GrpcFederationHost.StartAsync(Host(Security("bank", "telco"), options), GrpcPairs.Terms("telco"));
        Task<GrpcSession> active = host.JoinAsync(GrpcPairs.OwnRequest);
        GrpcSession passive = await GrpcFederationClient.JoinAsync(host.Address, GrpcPairs.Request("telco"), Client(Security("telco", "bank"), channel: options));
        IPartyChannel here = (await active).Channels[0], there = passive.Channels[0];
        return passiveFirst ? new ChannelPair(there, here, host.DisposeAsync) : new ChannelPair(here, there, host.DisposeAsync);
    }

    /// <summary>Refusals that a host tells of.</summary>
    public static RefusalLog Watch(this GrpcFederationHost host)
    {
        var log = new RefusalLog();
        host.JoinRefused += log.Add;
        return log;
    }

    public static RefusalLog Watch(this GrpcPairHost host)
    {
        var log = new RefusalLog();
        host.JoinRefused += log.Add;
        return log;
    }
}

/// <summary>Refusals in the order in which they came.</summary>
internal sealed class RefusalLog
{
    private readonly Channel<(string Who, FedLearnException Error)> _all = Channel.CreateUnbounded<(string Who, FedLearnException Error)>();

    public int Count => _all.Reader.Count;

    public void Add(string who, FedLearnException error) => _all.Writer.TryWrite((who, error));

    /// <summary>The next one, or a failed test.</summary>
    public async Task<(string Who, FedLearnException Error)> NextAsync()
    {
        using var patience = new CancellationTokenSource(ChannelConformance.Patience);
        return await _all.Reader.ReadAsync(patience.Token);
    }
}

/// <summary>A clock that shows the system's time and a difference.</summary>
internal sealed class ShiftedClock(TimeSpan shift) : TimeProvider
{
    public TimeSpan Shift { get; set; } = shift;

    public override DateTimeOffset GetUtcNow() => System.GetUtcNow() + Shift;
}

/// <summary>A company's authority, for tests.</summary>
internal sealed class TestAuthority
{
    private readonly ECDsa _key;
    private long _serial = 1000;

    public TestAuthority(string name = "Test Authority", DateTimeOffset? until = null)
    {
        _key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        Certificate = Request(name, _key).CreateSelfSigned(TimeProvider.System.GetUtcNow().AddDays(-1000), until ?? TimeProvider.System.GetUtcNow().AddDays(1000));
    }

    private TestAuthority(ECDsa key, X509Certificate2 certificate) => (_key, Certificate) = (key, certificate);

    /// <summary>With its private key.</summary>
    public X509Certificate2 Certificate { get; }

    public X509Certificate2 Public => X509CertificateLoader.LoadCertificate(Certificate.RawData);

    /// <summary>An authority that this one vouches for.</summary>
    public TestAuthority Delegate(string name)
    {
        var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using X509Certificate2 issued = Request(name, key).Create(Certificate.SubjectName, X509SignatureGenerator.CreateForECDsa(_key), Certificate.NotBefore.AddMinutes(1), Certificate.NotAfter.AddMinutes(-1), NextSerial());
        return new TestAuthority(key, issued.CopyWithPrivateKey(key));
    }

    private static CertificateRequest Request(string name, ECDsa key)
    {
        var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));
        return request;
    }

    private byte[] NextSerial()
    {
        byte[] serial = BitConverter.GetBytes(Interlocked.Increment(ref _serial));
        Array.Reverse(serial);
        return serial;
    }

    /// <summary>Issues a certificate, with alternative names unless there are none, and limited to a usage unless that is null.</summary>
    public X509Certificate2 Issue(string commonName, string? dns = null, string? uri = null, string? usage = null, DateTimeOffset? until = null)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={commonName}", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, true));
        var names = new SubjectAlternativeNameBuilder();
        if (dns is not null)
            names.AddDnsName(dns);
        if (uri is not null)
            names.AddUri(new Uri(uri));
        if (dns is not null || uri is not null)
            request.CertificateExtensions.Add(names.Build());
        if (usage is not null)
            request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid(usage)], false));
        // By name and generator: the overload with the issuer refuses a certificate that outlives it, which a test wants.
        using X509Certificate2 issued = request.Create(Certificate.SubjectName, X509SignatureGenerator.CreateForECDsa(_key), Certificate.NotBefore.AddMinutes(1),
            until ?? Certificate.NotAfter.AddMinutes(-1), NextSerial());
        return issued.CopyWithPrivateKey(key);
    }

    /// <summary>A list that revokes certificates, DER.</summary>
    public byte[] Revoke(DateTimeOffset from, DateTimeOffset until, params X509Certificate2[] revoked)
    {
        var list = new CertificateRevocationListBuilder();
        foreach (X509Certificate2 certificate in revoked)
            list.AddEntry(certificate, from);
        return list.Build(Certificate, 7, until, HashAlgorithmName.SHA256, thisUpdate: from);
    }
}

public sealed class TlsChannelTests
{
    public static TheoryData<string> Checks => [.. ChannelConformance.All.Keys];

    [Theory]
    [MemberData(nameof(Checks))]
    public Task TlsChannel_ActiveFirst_Passes(string check) => ChannelConformance.All[check](options => TlsPeers.CreateAsync(options));

    [Theory]
    [MemberData(nameof(Checks))]
    public Task TlsChannel_PassiveFirst_Passes(string check) => ChannelConformance.All[check](options => TlsPeers.CreateAsync(options, passiveFirst: true));
}

using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using FedLearn.Diagnostics;

namespace FedLearn.Transport.Grpc.Rpc;

/// <summary>The client's side of one encrypted connection: shows this party's certificate, checks the server's, and knows afterwards how far it came.</summary>
internal sealed class ClientTls
{
    private readonly GrpcSecurity _security;
    private readonly string _place;
    private volatile PeerException? _refusal;
    private volatile bool _open, _heard;

    /// <param name="security">Who this party is and whom it admits.</param>
    /// <param name="peer">Name of the peer that is called; null for the only one with pins.</param>
    /// <param name="place">The other side, for messages.</param>
    /// <exception cref="ConfigurationException">FL2530, FL2531, FL2533 or FL2534.</exception>
    public ClientTls(GrpcSecurity security, string? peer, string place)
    {
        security.Check();
        (_security, _place, Peer) = (security, place, security.PeerToCall(peer));
    }

    /// <summary>Name of the peer that is called.</summary>
    public string Peer { get; }

    /// <summary>Hash of this party's key.</summary>
    public byte[] OwnKeyHash => CertificatePin.KeyHash(_security.Certificate);

    /// <summary>Whether the handshake is over.</summary>
    public bool IsOpen => _open;

    /// <summary>Who answered; null before the handshake is over.</summary>
    public PeerIdentity? Server { get; private set; }

    /// <summary>Makes a handler encrypt.</summary>
    public void Attach(SocketsHttpHandler handler)
    {
        handler.SslOptions = new SslClientAuthenticationOptions
        {
            ClientCertificateContext = _security.Shown,
            EnabledSslProtocols = HostTls.Protocols,
            AllowTlsResume = false, // every connection checks certificates anew
            AllowRenegotiation = false,
            CertificateRevocationCheckMode = X509RevocationMode.NoCheck, // no network: lists are files
            CertificateChainPolicy = PeerVerifier.Offline(),
            RemoteCertificateValidationCallback = (_, certificate, chain, _) => IsAdmitted(certificate, chain),
        };
        handler.PlaintextStreamFilter = (context, _) =>
        {
            _open = true;
            return new ValueTask<Stream>(new ListeningStream(context.PlaintextStream, _ => _heard = true));
        };
    }

    /// <summary>What a failure means that came before the first answer; null when it is no matter of identity.</summary>
    /// <param name="failure">The failure.</param>
    /// <param name="answered">Whether the other side has sent anything: one that looks at certificates has said hello before.</param>
    public PeerException? Explain(Exception failure, bool answered)
    {
        if (_refusal is { } refusal)
            return refusal;
        if (_open)
            return _heard ? null : RefusedByPeer(_place, "it ended the connection right after the handshake, before it had answered anything.", failure);
        // The stack tells a peer's alert, a closed connection and an answer that is no TLS at all by text only.
        Exception[] all = [.. Causes(failure)];
        if (all.Any(e => e.Message.Contains(" alert ", StringComparison.Ordinal) && !e.Message.Contains("protocol version", StringComparison.Ordinal)))
            return RefusedByPeer(_place, "it ended the handshake with a TLS alert.", failure);
        if (all.Any(e => e is AuthenticationException))
            return new PeerException(GrpcErrors.NotTls, _place, "it does not speak TLS, or no version of it that is still safe.", "Check the address, the port and whether the other side listens with https.", failure);
        return answered && all.Any(e => e is HttpRequestException { HttpRequestError: HttpRequestError.SecureConnectionError } or HttpIOException or IOException)
            ? RefusedByPeer(_place, "it ended the connection during the handshake.", failure) : null;

        static IEnumerable<Exception> Causes(Exception e)
        {
            for (Exception? cause = e; cause is not null; cause = cause.InnerException)
                yield return cause;
        }
    }

    /// <summary>The error of the side whose certificate the other side does not seem to accept.</summary>
    public static PeerException RefusedByPeer(string place, string cause, Exception? inner = null) => new(GrpcErrors.RefusedByPeer, place, $"{cause} It probably does not accept this side's certificate.",
        "Look at the other side's log, which has the reason, and check there: is the pin of this party's certificate listed under this party's name; has the certificate expired; are both clocks right; "
        + "is it denied or revoked. Both sides need each other's pin, or its authority; certificates between a party's and its authority's stand in the party's own file.", inner);

    private bool IsAdmitted(X509Certificate? certificate, X509Chain? chain)
    {
        try
        {
            PeerIdentity server = PeerVerifier.Examine(_security, certificate as X509Certificate2, chain?.ChainPolicy.ExtraStore, CertificateNames.ServerUse, _place);
            server.Require(Peer, _place);
            Server = server;
            return true;
        }
        catch (PeerException refusal)
        {
            _refusal = refusal;
            return false;
        }
    }
}

/// <summary>A stream that tells when the first bytes have come through it.</summary>
/// <param name="inner">The stream under it. Owned.</param>
/// <param name="heard">Told the first bytes that the other side has sent, at least one.</param>
internal sealed class ListeningStream(Stream inner, Action<ReadOnlySpan<byte>> heard) : Stream
{
    private volatile bool _heard;

    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => true;

    public override long Length => throw new NotSupportedException();

    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

    public override void Flush() => inner.Flush();

    public override Task FlushAsync(CancellationToken cancellationToken) => inner.FlushAsync(cancellationToken);

    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    public override int Read(Span<byte> buffer) => Note(buffer, inner.Read(buffer));

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) => ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) => _heard ? inner.ReadAsync(buffer, cancellationToken) : ListenAsync(buffer, cancellationToken);

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => inner.Write(buffer, offset, count);

    public override void Write(ReadOnlySpan<byte> buffer) => inner.Write(buffer);

    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) => inner.WriteAsync(buffer, offset, count, cancellationToken);

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) => inner.WriteAsync(buffer, cancellationToken);

    public override async ValueTask DisposeAsync()
    {
        await inner.DisposeAsync().ConfigureAwait(false);
        await base.DisposeAsync().ConfigureAwait(false);
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
            inner.Dispose();
        base.Dispose(disposing);
    }

    private async ValueTask<int> ListenAsync(Memory<byte> buffer, CancellationToken cancellationToken)
    {
        int bytes = await inner.ReadAsync(buffer, cancellationToken).ConfigureAwait(false);
        return Note(buffer.Span, bytes);
    }

    private int Note(ReadOnlySpan<byte> buffer, int bytes)
    {
        if (bytes > 0 && !_heard)
        {
            _heard = true;
            heard(buffer[..bytes]);
        }

        return bytes;
    }
}

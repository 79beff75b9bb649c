using System.IO.Pipelines;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using FedLearn.Diagnostics;
using FedLearn.Protocol;
using Google.Protobuf;

namespace FedLearn.Transport.Grpc.Rpc;

/// <summary>gRPC calls to one address over HTTP/2, encrypted or not.</summary>
internal sealed class ClientConnection : IDisposable
{
    // 16 MiB is the most SocketsHttpHandler takes; with the default of 64 KiB a large message would wait for the network at every 64 KiB.
    private const int WindowBytes = 16 << 20;

    // How long beyond the deadline this side waits for an answer: the server keeps the deadline too, and can say who is missing.
    private static readonly TimeSpan Grace = TimeSpan.FromSeconds(2);

    private readonly Uri _address;
    private readonly TimeProvider _clock;
    private readonly HttpMessageInvoker _http;
    private readonly Action _kill;
    private readonly ClientTls? _tls;
    private Stream? _stream;
    private readonly string? _peer;
    private volatile bool _heard, _heardTls; // of bytes as they come, before they are decrypted

    /// <param name="address">Where it leads, for messages.</param>
    /// <param name="clock">Clock of the time limits.</param>
    /// <param name="name">The other end, for messages.</param>
    /// <param name="peer">Name of the party there; null where it is not known, and of a coordinator.</param>
    /// <param name="kill">Drops the TCP connection.</param>
    /// <param name="stream">What the handler speaks over: that connection, or a relayed one. Owned.</param>
    /// <param name="tls">What the handler encrypts with; null for plaintext.</param>
    /// <param name="heartbeat">Pause between pings.</param>
    /// <param name="windowBytes">What a stream may receive ahead of its reader.</param>
    private ClientConnection(Uri address, TimeProvider clock, string name, string? peer, Action kill, Stream stream, ClientTls? tls, TimeSpan heartbeat, int windowBytes)
    {
        (_address, _clock, Name, _peer, _kill, _stream, _tls) = (address, clock, name, peer, kill, new ListeningStream(stream, Hear), tls);
        var handler = new SocketsHttpHandler
        {
            UseProxy = false,
            UseCookies = false,
            AllowAutoRedirect = false,
            AutomaticDecompression = DecompressionMethods.None,
            ActivityHeadersPropagator = null,
            InitialHttp2StreamWindowSize = windowBytes,
            KeepAlivePingDelay = heartbeat,
            KeepAlivePingPolicy = HttpKeepAlivePingPolicy.WithActiveRequests,
            ConnectCallback = (_, _) => new ValueTask<Stream>(Interlocked.Exchange(ref _stream, null) ?? throw new IOException("The connection is over; a session does not move to another.")),
        };
        tls?.Attach(handler);
        _http = new HttpMessageInvoker(handler);
    }

    /// <summary>The encryption, which knows both sides' keys once a call has been answered; null over plaintext.</summary>
    public ClientTls? Tls => _tls;

    private string Name { get; }

    /// <summary>Connects.</summary>
    /// <param name="address">Where to.</param>
    /// <param name="options">Settings.</param>
    /// <param name="cancellationToken">Stops trying.</param>
    /// <param name="windowBytes">What a stream may receive ahead of its reader.</param>
    /// <exception cref="ArgumentOutOfRangeException">A time of the settings is out of its range.</exception>
    /// <exception cref="ConfigurationException">FL2530 to FL2534: the settings of identity cannot work.</exception>
    /// <exception cref="PeerException">FL4015: nobody listened in time; FL4044 to FL4049: a proxy does not lead there; or the coordinator of a relayed connection refuses.</exception>
    public static async Task<ClientConnection> OpenAsync(Uri address, GrpcClientOptions options, CancellationToken cancellationToken, int windowBytes = WindowBytes)
    {
        options.Check();
        TimeProvider clock = options.Channel.Clock;
        if (options.Relay is { } relay)
        {
            relay.Check(options.Security is not null, options.AllowPlaintext);
            GrpcAddress.Check(address, allowPlaintext: true, options.Security);
            ClientTls? through = options.Security is { } means ? new ClientTls(means, options.Peer ?? relay.Host, relay.Name) : null;
            RelayStream relayed = await RelayDialer.ReachAsync(relay, options, cancellationToken).ConfigureAwait(false);
            return new ClientConnection(address, clock, relay.Name, relay.Host, relayed.Kill, relayed, through, options.HeartbeatInterval, windowBytes);
        }

        GrpcAddress.Check(address, options.AllowPlaintext, options.Security);
        GrpcProxy? proxy = GrpcAddress.IsProtected(address, allowPlaintext: false) ? null : options.Proxy; // a proxy's own machine is never what is meant
        string name = proxy is null ? NameOf(address, options.Peer) : $"{NameOf(address, options.Peer)} through {proxy.Name}";
        ClientTls? tls = options.Security is { } security ? new ClientTls(security, options.Peer, name) : null;
        NetworkStream transport = await TcpDialer.DialAsync(address, proxy, options.ConnectTimeout, options.Peer, clock, cancellationToken).ConfigureAwait(false);
        return new ClientConnection(address, clock, name, options.Peer == GrpcRelay.CoordinatorName ? null : options.Peer, () => transport.Socket.Close(timeout: 0), transport, tls, options.HeartbeatInterval, windowBytes);
    }

    /// <summary>A call with one request and one reply.</summary>
    public async Task<TReply> UnaryAsync<TReply>(string method, IMessage request, MessageParser<TReply> parser, int maxReplyBytes,
        TimeSpan deadline, CancellationToken cancellationToken) where TReply : class, IMessage<TReply>
    {
        using HttpRequestMessage message = Request(method, new ByteArrayContent(Framing.Frame(request)));
        message.Headers.TryAddWithoutValidation(HeaderText.Timeout, HeaderText.FormatTimeout(deadline));
        using var timeUp = new CancellationTokenSource(deadline + Grace, _clock);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(timeUp.Token, cancellationToken);
        try
        {
            using HttpResponseMessage response = await _http.SendAsync(message, either.Token).ConfigureAwait(false);
            CheckHead(response);
            PipeReader body = PipeReader.Create(await response.Content.ReadAsStreamAsync(either.Token).ConfigureAwait(false));
            (TReply Message, long Bytes)? reply = await Framing.ReadAsync(body, parser, maxReplyBytes, either.Token).ConfigureAwait(false);
            if (reply is not null && await Framing.ReadAsync(body, parser, maxReplyBytes, either.Token).ConfigureAwait(false) is not null)
                throw new RpcException(StatusCode.Internal, "sent more than one reply.", ProtocolErrors.Malformed);
            Status status = StatusOf(response) ?? new Status(StatusCode.Unknown);
            return status.Code == StatusCode.Ok && reply is var (answer, _) ? answer : throw new RpcException(status);
        }
        catch (RpcException e)
        {
            throw Error(e.Status, e);
        }
        catch (OperationCanceledException e) when (timeUp.IsCancellationRequested && !cancellationToken.IsCancellationRequested)
        {
            throw Failure(ProtocolErrors.TimedOut, $"waited {(deadline + Grace).TotalSeconds:0.#} s for an answer to {method}, and none came.",
                "Look at its log, and give it more time with transport.connectTimeoutSeconds.", e);
        }
        catch (Exception e) when (e is HttpRequestException or IOException or SocketException) // SocketException: of a connection that was gone before the handler used it
        {
            throw Lost(e);
        }
    }

    /// <summary>Opens an Exchange call. Returns when the server has sent its headers.</summary>
    public Task<ClientExchange> ExchangeAsync(string method, string session, string party, TimeSpan timeout, TimeSpan shutdownTimeout, CancellationToken cancellationToken,
        string? binding = null) =>
        StreamAsync(method, [(HeaderText.Session, session), (HeaderText.Party, HeaderText.Encode(party)), .. binding is null ? Array.Empty<(string, string)>() : [(HeaderText.Binding, binding)]], timeout, shutdownTimeout, cancellationToken);

    /// <summary>Opens a call with streams both ways. Returns when the server has sent its headers.</summary>
    public async Task<ClientExchange> StreamAsync(string method, IReadOnlyList<(string Name, string Value)> headers, TimeSpan timeout, TimeSpan shutdownTimeout, CancellationToken cancellationToken)
    {
        var content = new StreamingContent();
        HttpRequestMessage request = Request(method, content);
        foreach ((string name, string value) in headers)
            request.Headers.TryAddWithoutValidation(name, value);
        // The token given to the handler governs the whole call, so it must not be the caller's.
        var life = new CancellationTokenSource(timeout, _clock);
        HttpResponseMessage? response = null;
        try
        {
            using (cancellationToken.UnsafeRegister(static source => ((CancellationTokenSource)source!).Cancel(), life))
            {
                response = await _http.SendAsync(request, life.Token).ConfigureAwait(false);
                CheckHead(response);
                Stream output = await content.Opened.WaitAsync(life.Token).ConfigureAwait(false);
                Stream input = await response.Content.ReadAsStreamAsync(life.Token).ConfigureAwait(false);
                life.CancelAfter(Timeout.InfiniteTimeSpan);
                return new ClientExchange(this, life, content, response, input, output, shutdownTimeout);
            }
        }
        catch (Exception e)
        {
            content.End();
            bool timeUp = life.IsCancellationRequested;
            response?.Dispose();
            life.Dispose();
            throw e switch
            {
                RpcException rpc => Error(rpc.Status, rpc),
                OperationCanceledException when cancellationToken.IsCancellationRequested => new OperationCanceledException(e.Message, e, cancellationToken),
                OperationCanceledException when timeUp => Failure(ProtocolErrors.TimedOut, $"waited {timeout.TotalSeconds:0.#} s for the call to open, in vain.", "Look at its log.", e),
                _ => Lost(e),
            };
        }
    }

    /// <summary>Drops the connection as the death of this process would.</summary>
    internal void Kill() => _kill();

    public void Dispose()
    {
        _http.Dispose();
        Interlocked.Exchange(ref _stream, null)?.Dispose();
        if (_tls is { IsOpen: false })
            _kill(); // disposing of the handler does not end a handshake that is under way
    }

    /// <summary>The status that a response carries in its trailers, or in its headers when there was nothing else to send.</summary>
    public static Status? StatusOf(HttpResponseMessage response) => StatusIn(response.TrailingHeaders) ?? StatusIn(response.Headers);

    private static Status? StatusIn(HttpHeaders headers)
    {
        if (Value(headers, HeaderText.Status) is not { } code)
            return null;
        string? id = Value(headers, HeaderText.ErrorId);
        return new Status(int.TryParse(code, out int number) && number is >= 0 and <= 16 ? (StatusCode)number : StatusCode.Unknown,
            HeaderText.Presentable(HeaderText.Decode(Value(headers, HeaderText.Message) ?? "")), HeaderText.IsErrorId(id) ? id : null);

        static string? Value(HttpHeaders headers, string name) => headers.TryGetValues(name, out IEnumerable<string>? values) ? values.First() : null;
    }

    private HttpRequestMessage Request(string method, HttpContent content)
    {
        content.Headers.ContentType = new MediaTypeHeaderValue(HeaderText.ContentType);
        var request = new HttpRequestMessage(HttpMethod.Post, new Uri(_address, method))
        {
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = content,
        };
        request.Headers.TryAddWithoutValidation("te", "trailers");
        return request;
    }

    private static void CheckHead(HttpResponseMessage response)
    {
        if (response.StatusCode != HttpStatusCode.OK || response.Content.Headers.ContentType?.MediaType?.StartsWith(HeaderText.ContentType, StringComparison.Ordinal) != true)
            throw new RpcException(StatusCode.Unknown, $"answered with HTTP status {(int)response.StatusCode} and not in gRPC.", GrpcErrors.NotGrpc);
        if (StatusIn(response.Headers) is { Code: not StatusCode.Ok } refused)
            throw new RpcException(refused);
    }

    /// <summary>How messages name who is called.</summary>
    /// <param name="address">The address.</param>
    /// <param name="peer">Name of the party that should be there, or of a coordinator; null where it is not known.</param>
    internal static string NameOf(Uri address, string? peer) =>
        peer == GrpcRelay.CoordinatorName ? $"coordinator {GrpcAddress.Name(address)}" : $"{(peer is null ? "host" : $"party '{peer}'")} at {GrpcAddress.Name(address)}";

    /// <summary>The error that a call's status stands for.</summary>
    public PeerException Error(Status status, Exception? inner) => status.ErrorId switch
    {
        null => Failure(GrpcErrors.CallFailed, status.Detail.Length > 0 ? status.Detail : $"ended the call with gRPC status {(int)status.Code} and said no more.", "Look at its log.", inner),
        ProtocolErrors.PeerGone => Failure(ProtocolErrors.PeerGone, status.Detail, "Look at its log for why it ended, mend that, then start the party again.", inner),
        ['F', 'L', '4', ..] id => Failure(id, status.Detail, "The log there has the same entry.", inner),
        { } id => Failure(ProtocolErrors.PeerAborted, $"it gave up with error {id}.", "Look at its own message, mend it there, and run the job again.", inner, id),
    };

    private PeerException Failure(string id, string cause, string remedy, Exception? inner, string? peerErrorId = null) =>
        new(id, Name, cause, remedy, inner) { Peer = _peer, PeerErrorId = peerErrorId };

    private void Hear(ReadOnlySpan<byte> first)
    {
        // An alert of TLS 1.0 to 1.3, the answer to what is no hello. HTTP/2 begins with the length of a frame, in which this would be 1.4 million bytes.
        const byte alert = 21, version = 3;
        _heardTls = first is [alert] or [alert, version, ..];
        _heard = true;
    }

    private PeerException Lost(Exception inner)
    {
        if (_tls?.Explain(inner, _heard) is { } refusal)
            return refusal;
        if (_tls is null && _heardTls)
            return Failure(GrpcErrors.NotGrpc, "it listens with https, and the address that was called has http.", "Write https in its address, with tls at both parties.", inner);
        // The handler calls a connection that ended without a byte an invalid response too. A balancer or a forwarder of ports, of ssh say, with nobody behind it ends them so, and so do some that listen with https.
        if (!_heard)
            return Failure(ProtocolErrors.PeerGone, $"the connection ended without an answer: it may listen {(_tls is null ? "with" : "without")} https, or nobody is behind the address yet.",
                "Check that the address is the right one, and whether it listens with https, look at its log, then start the party again.", inner);
        return IsForeign(inner) ? Failure(GrpcErrors.NotGrpc, "it does not speak gRPC.", "Check the address and the port, and whether it listens with https.", inner)
            : Failure(ProtocolErrors.PeerGone, "the connection ended before the session began.", "Check that the address is the right one, look at its log, then start the party again.", inner);
    }

    // Bytes that are no HTTP/2, as opposed to an HTTP/2 server that resets a call.
    private static bool IsForeign(Exception e)
    {
        const long protocolError = 1, frameSizeError = 6, http11Required = 13;
        return e is HttpRequestException { HttpRequestError: HttpRequestError.InvalidResponse or HttpRequestError.VersionNegotiationError }
            || (e as HttpProtocolException ?? e.InnerException) is HttpProtocolException { ErrorCode: protocolError or frameSizeError or http11Required };
    }
}

/// <summary>Request content that stays open: whoever holds the stream writes to it.</summary>
internal sealed class StreamingContent : HttpContent
{
    private readonly TaskCompletionSource<Stream> _opened = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public Task<Stream> Opened => _opened.Task;

    public void End() => _ended.TrySetResult();

    protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) => SerializeToStreamAsync(stream, context, CancellationToken.None);

    protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context, CancellationToken cancellationToken)
    {
        try
        {
            await stream.FlushAsync(cancellationToken).ConfigureAwait(false); // sends the request's headers
        }
        finally
        {
            _opened.TrySetResult(stream); // also when the server has ended the call already: reading then tells how
        }

        await _ended.Task.WaitAsync(cancellationToken).ConfigureAwait(false);
    }

    protected override bool TryComputeLength(out long length)
    {
        length = 0;
        return false;
    }
}

/// <summary>The client's end of an Exchange call. Owns its connection.</summary>
internal sealed class ClientExchange(ClientConnection connection, CancellationTokenSource life, StreamingContent content, HttpResponseMessage response,
    Stream input, Stream output, TimeSpan shutdownTimeout) : IExchangeCall
{
    private const int SegmentBytes = 64 << 10;

    public PipeReader Input { get; } = PipeReader.Create(input, new StreamPipeReaderOptions(bufferSize: SegmentBytes));

    public PipeWriter Output { get; } = PipeWriter.Create(output, new StreamPipeWriterOptions(minimumBufferSize: SegmentBytes, leaveOpen: true));

    public CancellationToken Aborted { get; } = life.Token;

    public Status? RemoteStatus => ClientConnection.StatusOf(response);

    public async ValueTask EndAsync(Status status)
    {
        content.End();
        // Dropping a response that has not ended resets the call, and the server may then lose what this side sent last.
        await Framing.SkipToEndAsync(Input, shutdownTimeout).ConfigureAwait(false);
        await Input.CompleteAsync().ConfigureAwait(false);
        response.Dispose();
        connection.Dispose();
        life.Dispose();
    }
}

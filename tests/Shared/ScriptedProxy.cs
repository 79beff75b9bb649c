using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace FedLearn.Tests.Shared;

/// <summary>An HTTP proxy that answers as it is told, and connects to one address whatever it is asked for.</summary>
internal sealed class ScriptedProxy : IAsyncDisposable
{
    public const string Yes = "HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n";

    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _over = new();
    private readonly ConcurrentQueue<string> _heads = [];
    private readonly Uri? _target;
    private readonly string[] _answers;
    private readonly Task _accepting;

    /// <param name="target">Where connections lead; null: nowhere.</param>
    /// <param name="answers">The answers to one request after the other, the last to all further ones; an empty one closes the connection. <see cref="Yes"/> connects.</param>
    public ScriptedProxy(Uri? target, params string[] answers)
    {
        (_target, _answers) = (target, answers);
        _listener.Start();
        _accepting = AcceptAsync();
    }

    public Uri Address => new($"http://{_listener.LocalEndpoint}");

    /// <summary>What was asked, from the first line to the empty one.</summary>
    public string[] Heads => [.. _heads];

    public async ValueTask DisposeAsync()
    {
        await _over.CancelAsync();
        _listener.Dispose();
        await _accepting;
        _over.Dispose();
    }

    private async Task AcceptAsync()
    {
        var served = new List<Task>();
        try
        {
            while (true)
                served.Add(ServeAsync(await _listener.AcceptTcpClientAsync(_over.Token)));
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            await Task.WhenAll(served);
        }
    }

    private async Task ServeAsync(TcpClient client)
    {
        using TcpClient caller = client;
        try
        {
            NetworkStream near = client.GetStream();
            byte[] one = new byte[1];
            var head = new StringBuilder();
            while (!head.ToString().EndsWith("\r\n\r\n", StringComparison.Ordinal))
            {
                await near.ReadExactlyAsync(one, _over.Token);
                head.Append((char)one[0]);
            }

            _heads.Enqueue(head.ToString());
            string answer = _answers[Math.Min(_heads.Count, _answers.Length) - 1];
            await near.WriteAsync(Encoding.Latin1.GetBytes(answer), _over.Token);
            if (!answer.StartsWith(Yes, StringComparison.Ordinal) || _target is null)
                return;
            using var far = new TcpClient();
            await far.ConnectAsync(_target.Host, _target.Port, _over.Token);
            await Task.WhenAny(near.CopyToAsync(far.GetStream(), _over.Token), far.GetStream().CopyToAsync(near, _over.Token));
        }
        catch (Exception e) when (e is IOException or SocketException or OperationCanceledException)
        {
            // One side has left.
        }
    }
}

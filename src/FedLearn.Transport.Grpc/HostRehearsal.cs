using System.Net;
using System.Security.Cryptography;
using FedLearn.Coordination;
using Microsoft.AspNetCore.Connections;

namespace FedLearn.Transport.Grpc;

/// <summary>Starts and ends a host that listens nowhere, so that what a host needs is loaded and compiled on one processor while another reads the job.</summary>
internal static class HostRehearsal
{
    /// <summary>Ends when that is done; begun by the first who asks. A failure is told by the host that follows.</summary>
    public static Task Started { get; } = Task.Run(RunAsync);

    private static async Task RunAsync()
    {
        var options = new GrpcHostOptions();
        var terms = new SessionTerms("", SHA256.HashData([]), new Dictionary<string, ReadOnlyMemory<byte>> { [""] = SHA256.HashData([]) },
            [new PartyDescription("a", PartyRole.Active), new PartyDescription("b", PartyRole.Passive)]);
        using var service = new FederationService(new SharedSession(terms, options), options);
        await GrpcServer.RehearseAsync(new Nowhere(), service).ConfigureAwait(false);
    }

    /// <summary>A place to which nobody connects.</summary>
    private sealed class Nowhere : EndPoint, IConnectionListenerFactory, IConnectionListenerFactorySelector, IConnectionListener
    {
        private readonly TaskCompletionSource<ConnectionContext?> _end = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public EndPoint EndPoint => this;

        public bool CanBind(EndPoint endpoint) => endpoint is Nowhere;

        public ValueTask<IConnectionListener> BindAsync(EndPoint endpoint, CancellationToken cancellationToken = default) => new(this);

        public ValueTask<ConnectionContext?> AcceptAsync(CancellationToken cancellationToken = default) => new(_end.Task);

        public ValueTask UnbindAsync(CancellationToken cancellationToken = default) => DisposeAsync();

        public ValueTask DisposeAsync()
        {
            _end.TrySetResult(null);
            return default;
        }
    }
}

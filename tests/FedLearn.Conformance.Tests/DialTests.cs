using System.Net;
using System.Net.Sockets;
using FedLearn.Diagnostics;
using FedLearn.Protocol;
using FedLearn.Testing;
using FedLearn.Tests.Shared;
using FedLearn.Transport.Grpc;
using FedLearn.Transport.Grpc.Rpc;

namespace FedLearn.Conformance.Tests;

/// <summary>Connections of a client on networks that lose packets, and through what accepts for others.</summary>
public sealed class DialTests
{
    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    // Packets to the first address of a name may be dropped on the way.
    [Fact]
    public async Task First_AddressDoesNotAnswer_TheNextIsCalledAndTheFirstGivenUp()
    {
        IPAddress[] addresses = [IPAddress.Parse("2001:db8::1"), IPAddress.Parse("192.0.2.1"), IPAddress.Parse("192.0.2.2"), IPAddress.Parse("192.0.2.3")];
        var called = new List<IPAddress>();
        var never = new TaskCompletionSource<MemoryStream>();
        CancellationToken first = default;
        using MemoryStream found = await TcpDialer.FirstAsync(addresses, (address, stop) =>
        {
            called.Add(address);
            if (address == addresses[0])
                first = stop;
            return address == addresses[0] ? never.Task : address == addresses[1] ? Task.FromException<MemoryStream>(new SocketException((int)SocketError.NetworkUnreachable)) : Task.FromResult(new MemoryStream());
        }, Stop).WaitAsync(ChannelConformance.Patience);
        Assert.Equal(addresses[..3], called);
        Assert.True(first.IsCancellationRequested);
    }

    [Fact]
    public async Task First_NoAddressCanBeReached_TellsWhatTheLastFailedWith()
    {
        IPAddress[] addresses = [IPAddress.Parse("192.0.2.1"), IPAddress.Parse("192.0.2.2")];
        var error = await Assert.ThrowsAsync<SocketException>(() => TcpDialer.FirstAsync(addresses, (address, _) => Task.FromException<MemoryStream>(
            new SocketException((int)(address == addresses[0] ? SocketError.NetworkUnreachable : SocketError.ConnectionRefused))), Stop));
        Assert.Equal(SocketError.ConnectionRefused, error.SocketErrorCode);
    }

    // Else a party that waits would not notice within its time limit that the other's machine vanished.
    [Fact]
    public async Task Connect_Socket_ProbesASilentPeer()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        await using NetworkStream stream = await TcpDialer.ConnectAsync(new Uri($"http://{listener.LocalEndpoint}"), Stop);
        Assert.Equal(1, stream.Socket.GetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive));
        Assert.Equal((20, 10, 4), ((int)stream.Socket.GetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveTime)!,
            (int)stream.Socket.GetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveInterval)!, (int)stream.Socket.GetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveRetryCount)!));
    }

    // A balancer takes connections for a host that is not there, and a certificate has not been looked at.
    [Fact]
    public async Task Join_EndsBeforeTheOtherSideSaysHello_IsAPeerThatIsNotThere()
    {
        await using var proxy = new ScriptedProxy(null, ScriptedProxy.Yes);
        PeerException error = await Assert.ThrowsAsync<PeerException>(() => GrpcFederationClient.JoinAsync(new Uri("https://bank.invalid:5301"), GrpcPairs.Request("telco"),
            new GrpcClientOptions { Peer = "bank", Proxy = new GrpcProxy { Address = proxy.Address }, Security = TlsPeers.Security("telco", "bank") }, Stop));
        Assert.Equal(ProtocolErrors.PeerGone, error.Id);
        Assert.Contains("nobody is behind the address yet", error.Message, StringComparison.Ordinal);
    }
}

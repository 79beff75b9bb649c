namespace FedLearn.Transport.Grpc;

/// <summary>Passes the messages of training rounds once, within the process, so that the code is compiled while the session begins and not in the first round.</summary>
internal static class CodecRehearsal
{
    /// <summary>Ends when that is done; begun by the first channel of the process.</summary>
    public static Task Started { get; } = Task.Run(GrpcPartyChannel.RehearseAsync);
}

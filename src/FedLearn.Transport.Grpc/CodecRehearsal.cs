using System.IO.Pipelines;
using FedLearn.Privacy;
using FedLearn.Transport.Grpc.Rpc;

namespace FedLearn.Transport.Grpc;

/// <summary>Encodes and decodes the messages of training rounds once, within the process and of zeros, so that the code is compiled while the session
/// begins and not in the first round.</summary>
internal static class CodecRehearsal
{
    // Long enough for a message to come in several pieces, as it does from a socket.
    private const int Elements = 4096;

    /// <summary>Ends when that is done; begun by the first channel of the process.</summary>
    public static Task Started { get; } = Task.Run(RunAsync);

    private static async Task RunAsync()
    {
        double[] zeros = new double[Elements];
        var lattice = LatticeVector.Of(zeros, 1, 1 << 27);
        var pipe = new Pipe(new PipeOptions(pauseWriterThreshold: 0));
        RoundVector[] payloads = [new Scores(zeros), new Residuals(zeros), new Scores(lattice), new Residuals(lattice)];
        var pool = new PayloadPool();
        for (int round = 0; round < payloads.Length; round++)
        {
            long bytes = RoundVectorCodec.Write(pipe.Writer, round + 1, payloads[round]);
            await pipe.Writer.FlushAsync(CancellationToken.None).ConfigureAwait(false);
            ReadResult read = await pipe.Reader.ReadAsync(CancellationToken.None).ConfigureAwait(false);
            Framing.ReadPrefix(read.Buffer, int.MaxValue);
            pool.Return(EnvelopeCodec.Read(read.Buffer.Slice(Framing.PrefixBytes), pool, bytes).Payload!);
            pipe.Reader.AdvanceTo(read.Buffer.End);
        }
    }
}

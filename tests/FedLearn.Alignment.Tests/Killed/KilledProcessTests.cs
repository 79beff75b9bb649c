using System.Diagnostics;
using System.Security.Cryptography;
using FedLearn.Alignment.Tests.Hostile;
using FedLearn.Alignment.Tests.Reference;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Transport.Grpc;

namespace FedLearn.Alignment.Tests.Killed;

/// <summary>A party's process is killed with SIGKILL in the middle and started again: the session goes on, ends with the right rows, and leaves no secret behind.</summary>
public sealed class KilledProcessTests : IDisposable
{
    private const int Rows = 5000, Common = 4500;
    private const int SecretsOffset = 156, SecretsBytes = 64;    // of the file "session": the scalar, and the seed of permutations

    private readonly string _folder = Directory.CreateTempSubdirectory("fedlearn-psi-kill-").FullName;

    /// <summary>Ids of the process that is killed: two chunks.</summary>
    public static string[] PassiveIds { get; } = [.. Enumerable.Range(0, Rows).Select(i => i < Common ? $"person {i}" : $"patient {i}")];

    private static string[] ActiveIds { get; } = [.. Enumerable.Range(0, Rows).Select(i => i < Common ? $"person {Common - 1 - i}" : $"customer {i}")];

    public static JoinRequest Request(string party, PartyRole role) => new(SessionDesk.ProtocolVersion, new PartyDescription(party, role), "alignment",
        SHA256.HashData("terms"u8), new Dictionary<string, ReadOnlyMemory<byte>>(), SHA256.HashData([]));

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    // What the active party receives of an uninterrupted session: 1 hello, 2 commitment, 3 and 4 points, 5 and 6 tags, 7 confirmation.
    [Theory]
    [InlineData(2)]             // the peer's commitment had come: nothing is lost but time
    [InlineData(3, 3)]          // after one of its two chunks of points, and in the next attempt after another message
    [InlineData(4, 3)]
    [InlineData(5)]             // amid its tags
    public async Task Align_PeerKilled_GoesOnAndEndsWithTheRightRows(params int[] killAfter)
    {
        ReferenceSodium.Require();
        string here = Path.Combine(_folder, "active"), there = Path.Combine(_folder, "passive");
        var secrets = new List<byte[]>();
        string? session = null;
        for (int attempt = 0; ; attempt++)
        {
            int? kill = attempt < killAfter.Length ? killAfter[attempt] : null;
            await using GrpcFederationHost host = await GrpcFederationHost.StartAsync(new GrpcHostOptions(), GrpcParties.Terms("clinic"));
            using Process child = Start(host.Address, there);
            try
            {
                await using GrpcSession joined = await host.JoinAsync(Request("bank", PartyRole.Active)).WaitAsync(Duel.Patience);
                var channel = new KillingChannel(joined.Channels[0], kill, child);
                Task<PsiResult> running = PsiParty.RunAsync(PartyRole.Active, ActiveIds, joined.Agreement.JobDigest, channel, new PsiOptions { StateDirectory = here });
                if (kill is not null)
                {
                    var error = await Assert.ThrowsAnyAsync<FedLearnException>(() => running.WaitAsync(Duel.Patience));
                    Assert.Equal(ProtocolErrors.PeerGone, error.Id);
                    await child.WaitForExitAsync().WaitAsync(Duel.Patience);
                    Assert.Equal(128 + 9, child.ExitCode);
                    // Both folders hold the session, secrets included, readable by their owner alone.
                    foreach (string file in Directory.GetFiles(_folder, "session", SearchOption.AllDirectories))
                    {
                        if (!OperatingSystem.IsWindows())
                            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(file));
                        secrets.Add((await File.ReadAllBytesAsync(file))[SecretsOffset..(SecretsOffset + SecretsBytes)]);
                    }

                    Assert.True(secrets.Count >= 1);
                    continue;
                }

                PsiResult result = await running.WaitAsync(Duel.Patience);
                await joined.Channels[0].CompleteAsync();
                await joined.DisposeAsync(); // the child waits for the end of the call
                string[] printed = (await child.StandardOutput.ReadToEndAsync().WaitAsync(Duel.Patience)).Split(' ', '\n');
                await child.WaitForExitAsync().WaitAsync(Duel.Patience);
                Assert.Equal(0, child.ExitCode);
                // A session is taken up again where both had written it down: the child had where it had sent a point, which it does only then.
                bool resumes = killAfter.Any(k => k > 2);
                if (resumes)
                    Assert.True(result.Resumed);
                Assert.Equal((result.Resumed.ToString(), result.Session), (printed[0], printed[1]));
                Assert.Equal(Common, result.Size);
                Assert.Equal(Enumerable.Range(0, Common), result.Rows!);
                Assert.Equal(Enumerable.Range(0, Common), printed[2].Split(',').Select(row => int.Parse(row, null)));
                session = result.Session;
                break;
            }
            finally
            {
                if (!child.HasExited)
                    child.Kill();
            }
        }

        Assert.NotNull(session);
        foreach (string file in Directory.GetFiles(_folder, "*", SearchOption.AllDirectories))
            Assert.Fail($"{Path.GetFileName(file)} is left"); // and so no scalar in it
        Assert.All(secrets, secret => Assert.Contains(secret, b => b != 0));
    }

    private static Process Start(Uri address, string folder)
    {
        var start = new ProcessStartInfo(Environment.ProcessPath!) { RedirectStandardOutput = true };
        if (Path.GetFileNameWithoutExtension(Environment.ProcessPath) == "dotnet")
            start.ArgumentList.Add(typeof(KilledProcessTests).Assembly.Location);
        foreach (string argument in (string[])["child", "align", address.ToString(), folder])
            start.ArgumentList.Add(argument);
        return Process.Start(start)!;
    }

    /// <summary>A channel that kills the peer's process once so many of its messages have come.</summary>
    private sealed class KillingChannel(IPartyChannel inner, int? killAfter, Process peer) : IPartyChannel
    {
        private int _received;

        public string LocalParty => inner.LocalParty;

        public string RemoteParty => inner.RemoteParty;

        public ChannelStatistics Statistics => inner.Statistics;

        public IReadOnlyDictionary<(string Name, Protection Protection), long> Releases => inner.Releases;

        public ValueTask SendAsync<T>(int round, Released<T> message, CancellationToken cancellationToken = default) where T : Payload => inner.SendAsync(round, message, cancellationToken);

        public async ValueTask<T> ReceiveAsync<T>(int round, int? length, CancellationToken cancellationToken = default) where T : Payload
        {
            // What was on its way when the peer died is lost with it, or a quick peer would have said everything by then.
            while (_received == killAfter)
                await inner.ReceiveAsync<Payload>(round, null, cancellationToken);
            T payload = await inner.ReceiveAsync<T>(round, length, cancellationToken);
            if (++_received != killAfter)
                return payload;
            peer.Kill();        // SIGKILL: it has no last words
            await peer.WaitForExitAsync(cancellationToken);
            return payload;
        }

        public ValueTask CompleteAsync(CancellationToken cancellationToken = default) => inner.CompleteAsync(cancellationToken);

        public ValueTask AbortAsync(string errorId, CancellationToken cancellationToken = default) => inner.AbortAsync(errorId, cancellationToken);

        public ValueTask DisposeAsync() => inner.DisposeAsync();
    }
}

using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using FedLearn.Coordination;
using FedLearn.Privacy;
using FedLearn.Protocol;
using FedLearn.Transport.Grpc;

namespace FedLearn.Experiments.Wire;

/// <summary>A message whose round trip is measured.</summary>
/// <param name="Lattice">Whether its numbers are lattice integers in as many bits as with a sigma of the size of the bound in private modes; else float64.</param>
/// <param name="Rows">Numbers.</param>
/// <param name="Rounds">Round trips.</param>
internal sealed record WireMessage(bool Lattice, int Rows, int Rounds)
{
    private static readonly NoiseCalibration Noise = new(1, 1, 1, 1);
    private static readonly int Bits = GaussianMechanism.BitsOf(Noise);

    /// <summary>Packed numbers, bytes.</summary>
    public int Bytes => Lattice ? LatticeVector.BytesOf(Rows, Bits) : Rows * sizeof(double);

    /// <summary>How its numbers travel.</summary>
    public string Form => Lattice ? string.Create(CultureInfo.InvariantCulture, $"lattice of {Bits} bits") : "float64";

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{(Lattice ? "lattice" : "float64")}:{Rows}:{Rounds}");

    public static WireMessage Parse(string text) => text.Split(':') is [var kind, var rows, var rounds]
        ? new(kind == "lattice", int.Parse(rows, CultureInfo.InvariantCulture), int.Parse(rounds, CultureInfo.InvariantCulture)) : throw new FormatException("KIND:ROWS:ROUNDS");

    /// <summary>Numbers that fill the message.</summary>
    public (double[]? Numbers, LatticeVector? Integers) Values()
    {
        var random = new Random(1);
        double[] numbers = new double[Rows];
        foreach (ref double number in numbers.AsSpan())
            number = random.NextDouble() - .5;
        double step = Noise.Sigma / (1 << GaussianMechanism.UsualLatticeBits);
        return Lattice ? (null, LatticeVector.Of(numbers, step, step * ((1 << (Bits - 1)) - 1))) : (numbers, null);
    }
}

/// <summary>One party in a process of its own: the passive one sends scores, the active one answers each with residuals. <see cref="WireRuns"/> starts both.</summary>
internal static class WireParty
{
    public const string Verb = "wire-party", Listening = "listening ", Guest = "guest", Host = "host";

    private const string Reason = "benchmark, no real data";

    public static Command Create()
    {
        var role = new Option<string>("--role") { Description = "active or passive.", Required = true };
        var coordinator = new Option<string?>("--coordinator") { Description = "Where the active party listens." };
        var tls = new Option<string?>("--tls") { Description = "Folder with a certificate and a key of each party." };
        Option<int> warmup = Verbs.Positive("--warm-up", "Round trips of each message before those that count.", 1000);
        Option<string[]> messages = Verbs.List("--messages", "KIND:ROWS:ROUNDS, KIND lattice or float64.", "lattice:256:1000");
        var command = new Command(Verb, "One party of verb wire-speed.") { role, coordinator, tls, warmup, messages };
        command.Hidden = true;
        command.SetAction((parsed, cancellationToken) => Verbs.RunAsync(async () =>
        {
            bool active = parsed.GetValue(role) == "active";
            GrpcSecurity? security = parsed.GetValue(tls) is { } folder ? Security(folder, active ? Guest : Host, active ? Host : Guest) : null;
            WireMessage[] all = [.. parsed.GetRequiredValue(messages).Select(WireMessage.Parse)];
            if (active)
                await AnswerAsync(security, all, parsed.GetValue(warmup), cancellationToken).ConfigureAwait(false);
            else
                await AskAsync(new Uri(parsed.GetRequiredValue(coordinator)!), security, all, parsed.GetValue(warmup), cancellationToken).ConfigureAwait(false);
            return 0;
        }));
        return command;
    }

    /// <summary>Makes what <c>--tls</c> reads.</summary>
    public static void MakeCertificates(string folder)
    {
        foreach (string name in (string[])[Guest, Host])
        {
            (string certificate, string key) = TrialCertificate.Create(name, TrialCertificate.DefaultLifetime, TimeProvider.System);
            File.WriteAllText(Path.Combine(folder, name + ".pem"), certificate);
            using (File.Create(Path.Combine(folder, name + ".key.pem")))
                if (!OperatingSystem.IsWindows())
                    File.SetUnixFileMode(Path.Combine(folder, name + ".key.pem"), UnixFileMode.UserRead | UnixFileMode.UserWrite);
            File.WriteAllText(Path.Combine(folder, name + ".key.pem"), key);
        }
    }

    private static GrpcSecurity Security(string folder, string own, string peer)
    {
        var theirs = System.Security.Cryptography.X509Certificates.X509Certificate2.CreateFromPem(File.ReadAllText(Path.Combine(folder, peer + ".pem")));
        return new GrpcSecurity
        {
            Certificate = GrpcSecurity.LoadCertificate(Path.Combine(folder, own + ".pem"), Path.Combine(folder, own + ".key.pem")),
            Peers = new Dictionary<string, IReadOnlyList<CertificatePin>> { [peer] = [CertificatePin.OfKey(theirs)] },
        };
    }

    private static (SessionTerms Terms, JoinRequest Request) Session(bool active)
    {
        PartyDescription[] parties = [new(Guest, PartyRole.Active), new(Host, PartyRole.Passive)];
        var terms = new SessionTerms("wire benchmark", SHA256.HashData("wire benchmark"u8), new Dictionary<string, ReadOnlyMemory<byte>>(), parties);
        return (terms, new JoinRequest(SessionDesk.ProtocolVersion, parties[active ? 0 : 1], terms.JobName, terms.TermsDigest, terms.Sections, new byte[SHA256.HashSizeInBytes]));
    }

    private static async Task AnswerAsync(GrpcSecurity? security, WireMessage[] messages, int warmup, CancellationToken stop)
    {
        (SessionTerms terms, JoinRequest request) = Session(active: true);
        var options = new GrpcHostOptions { Security = security, Listen = new Uri(security is null ? "http://127.0.0.1:0" : "https://127.0.0.1:0") };
        GrpcFederationHost host = await GrpcFederationHost.StartAsync(options, terms, stop).ConfigureAwait(false);
        await using (host.ConfigureAwait(false))
        {
            await Console.Out.WriteLineAsync(Listening + host.Address).ConfigureAwait(false);
            GrpcSession session = await host.JoinAsync(request, stop).ConfigureAwait(false);
            await using (session.ConfigureAwait(false))
            {
                IPartyChannel channel = session.Channels[0];
                foreach (WireMessage message in messages)
                {
                    (double[]? numbers, LatticeVector? integers) = message.Values();
                    Released<Residuals> answer = Disclosure.Unprotected(integers is null ? new Residuals(numbers) : new Residuals(integers), Reason);
                    for (int round = 0; round < message.Rounds + Math.Min(warmup, message.Rounds); round++)
                    {
                        channel.Return(await channel.ReceiveAsync<Scores>(round, message.Rows, stop).ConfigureAwait(false));
                        await channel.SendAsync(round, answer, stop).ConfigureAwait(false);
                    }
                }

                await channel.CompleteAsync(stop).ConfigureAwait(false);
            }
        }
    }

    private static async Task AskAsync(Uri coordinator, GrpcSecurity? security, WireMessage[] messages, int warmup, CancellationToken stop)
    {
        GrpcSession session = await GrpcFederationClient.JoinAsync(coordinator, Session(active: false).Request, new GrpcClientOptions { Security = security, Peer = Guest }, stop).ConfigureAwait(false);
        await using (session.ConfigureAwait(false))
        {
            IPartyChannel channel = session.Channels[0];
            foreach (WireMessage message in messages)
            {
                (double[]? numbers, LatticeVector? integers) = message.Values();
                Released<Scores> question = Disclosure.Unprotected(integers is null ? new Scores(numbers) : new Scores(integers), Reason);
                int before = Math.Min(warmup, message.Rounds);
                double[] micros = new double[message.Rounds];
                long allocated = 0;
                for (int round = 0; round < before + message.Rounds; round++)
                {
                    if (round == before)
                        allocated = GC.GetTotalAllocatedBytes();
                    long start = Stopwatch.GetTimestamp();
                    await channel.SendAsync(round, question, stop).ConfigureAwait(false);
                    channel.Return(await channel.ReceiveAsync<Residuals>(round, message.Rows, stop).ConfigureAwait(false));
                    if (round >= before)
                        micros[round - before] = Stopwatch.GetElapsedTime(start).TotalMicroseconds;
                }

                allocated = GC.GetTotalAllocatedBytes() - allocated;
                Array.Sort(micros);
                await Console.Out.WriteLineAsync(string.Create(CultureInfo.InvariantCulture,
                    $"{message} {micros[micros.Length / 2]:0.000} {micros[micros.Length * 99 / 100]:0.000} {(double)allocated / message.Rounds:0.0}")).ConfigureAwait(false);
            }

            await channel.CompleteAsync(stop).ConfigureAwait(false);
        }
    }
}

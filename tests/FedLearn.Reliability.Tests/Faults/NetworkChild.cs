using System.Globalization;
using FedLearn.Glm;
using FedLearn.Protocol;
using FedLearn.Transport.Grpc;

namespace FedLearn.Reliability.Tests.Faults;

/// <summary>Programs that <c>child network</c> runs: a soak, and one party of a session.</summary>
internal static class NetworkChild
{
    /// <summary>Runs a program.</summary>
    /// <returns>0; 4 for a party that ended with an error of a peer or the network; 1 for anything else.</returns>
    public static int Run(string[] args) => args switch
    {
        ["soak", var minutes, var seed] => SoakAsync(Number(minutes), (int)Number(seed)).GetAwaiter().GetResult(),
        ["party", var role, var address, var seconds, var epoch] => PartyAsync(role == "active", new Uri(address), TimeSpan.FromSeconds(Number(seconds)), (int)Number(epoch)).GetAwaiter().GetResult(),
        _ => throw new ArgumentException($"There is no program '{string.Join(' ', args)}'."),
    };

    /// <summary>The job of the parties.</summary>
    public static Task<Trial> TrialAsync() => Trial.CreateAsync(77, rows: 200, epochs: 40);

    private static double Number(string text) => double.Parse(text, CultureInfo.InvariantCulture);

    private static async Task<int> SoakAsync(double minutes, int seed)
    {
        SoakReport report = await new Soak(seed, Console.WriteLine).RunAsync(TimeSpan.FromMinutes(minutes));
        Console.WriteLine($"{(report.Wrong is null ? "passed" : "FAILED")}: {report}");
        if (report.Wrong is not null)
            Console.WriteLine(report.Wrong);
        return report.Wrong is null ? 0 : 1;
    }

    /// <summary>Says on standard output where it listens, when it has come to an epoch, and how it ended. At that epoch it waits for a line of standard input.</summary>
    private static async Task<int> PartyAsync(bool active, Uri address, TimeSpan patience, int epoch)
    {
        Trial trial = await TrialAsync();
        var channel = new ChannelOptions { ReceiveTimeout = patience };
        var holder = new Holder(epoch);
        PartyEnd end = active
            ? await trial.RunActiveAsync(new GrpcHostOptions { Listen = address, AllowPlaintext = true, JoinTimeout = TimeSpan.FromMinutes(1), Channel = channel }, uri => Console.WriteLine($"listening {uri}"), holder)
            : await trial.RunPassiveAsync(address, new GrpcClientOptions { AllowPlaintext = true, HeartbeatInterval = TimeSpan.FromSeconds(5), Channel = channel }, progress: holder);
        Console.WriteLine(end.Model is not null ? $"model {end.Model}" : $"error {end.ErrorId ?? end.Failure!.ToString()}");
        return end.Model is not null ? 0 : end.ErrorId is ['F', 'L', '4', ..] ? 4 : 1;
    }

    private sealed class Holder(int epoch) : IProgress<GlmProgress>
    {
        private int _reports;

        public void Report(GlmProgress value)
        {
            if (++_reports != epoch)
                return;
            Console.WriteLine("held");
            Console.ReadLine();
        }
    }
}

using System.Runtime.CompilerServices;
using FedLearn.Aggregation;
using FedLearn.Alignment.Ristretto;
using FedLearn.Coordination;
using FedLearn.Diagnostics;
using FedLearn.Transport.Grpc;

namespace FedLearn.Alignment.Tests;

/// <summary>The test runner, the passive party that the tests start and kill, and what they start on other processors and libraries.</summary>
internal static class Program
{
    public static int Main(string[] args) => args switch
    {
        ["child", "align", var address, var folder] => AlignAsync(new Uri(address), folder).GetAwaiter().GetResult(),
        ["child", "engine", var engine] => Say(() => RistrettoEngines.Create(Enum.Parse<PsiEngine>(engine)).Name),
        ["child", "key"] => Say(() => $"{EnrolmentKey.FromSeed(new byte[32]).PublicKey.Length}"),
        _ => Test(args),
    };

    private static int Say(Func<string> what)
    {
        try
        {
            Console.Out.WriteLine(what());
            return 0;
        }
        catch (FedLearnException e)
        {
            Console.Out.WriteLine(e.Message);
            return e.ExitCode;
        }
    }

    // A method of its own, so that a child loads no test framework.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static int Test(string[] args) => args.Any(a => a is "--server" or "--internal-msbuild-node")
        ? Xunit.MicrosoftTestingPlatform.TestPlatformTestFramework.RunAsync(args, SelfRegisteredExtensions.AddSelfRegisteredExtensions).GetAwaiter().GetResult()
        : Xunit.Runner.InProc.SystemConsole.ConsoleRunner.Run(args).GetAwaiter().GetResult();

    /// <summary>Joins as the passive party, aligns, and prints whether a session was taken up again, its id, and the common rows.</summary>
    private static async Task<int> AlignAsync(Uri address, string folder)
    {
        await using GrpcSession session = await GrpcFederationClient.JoinAsync(address, Killed.KilledProcessTests.Request("clinic", PartyRole.Passive));
        PsiResult result = await PsiParty.RunAsync(PartyRole.Passive, Killed.KilledProcessTests.PassiveIds, session.Agreement.JobDigest, session.Channels[0], new PsiOptions { StateDirectory = folder });
        Console.Out.WriteLine($"{result.Resumed} {result.Session} {string.Join(',', result.Rows!)}");
        await session.Channels[0].CompleteAsync();
        return 0;
    }
}

using System.Runtime.CompilerServices;

namespace FedLearn.Reliability.Tests;

/// <summary>The test runner, and the child processes that the tests start and kill.</summary>
internal static class Program
{
    /// <summary>Arguments: <c>child NAME ...</c> runs a child; anything else goes to the test runner.</summary>
    public static int Main(string[] args) => args switch
    {
        ["child", "network", .. var rest] => Faults.NetworkChild.Run(rest),
        ["child", "kills", var name, var noise, var epochs, var party, var folder, var port, .. var hold] => Kills.KillChild.RunAsync(name, noise, epochs, party, folder, port, hold.FirstOrDefault()).GetAwaiter().GetResult(),
        ["child", "recommendation", .. var rest] => Kills.RecommendationChild.Run(rest),
        ["child", ..] => throw new ArgumentException($"There is no child '{string.Join(' ', args[1..])}'."),
        _ => Test(args),
    };

    // A method of its own, so that a child loads no test framework.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static int Test(string[] args) => args.Any(a => a is "--server" or "--internal-msbuild-node")
        ? Xunit.MicrosoftTestingPlatform.TestPlatformTestFramework.RunAsync(args, SelfRegisteredExtensions.AddSelfRegisteredExtensions).GetAwaiter().GetResult()
        : Xunit.Runner.InProc.SystemConsole.ConsoleRunner.Run(args).GetAwaiter().GetResult();
}

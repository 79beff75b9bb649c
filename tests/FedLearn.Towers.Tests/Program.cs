using System.Runtime.CompilerServices;
using FedLearn.Diagnostics;
using FedLearn.Dssm;
using FedLearn.Testing;
using FedLearn.Towers.LibTorch;

namespace FedLearn.Towers.Tests;

/// <summary>The test runner, and the child processes that the tests start with another environment.</summary>
internal static class Program
{
    public static int Main(string[] args) => args switch
    {
        ["child", "create"] => Create(),
        ["child", "conform"] => Conform(),
        _ => Test(args),
    };

    // Methods of their own, so that a child loads no test framework.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static int Test(string[] args) => args.Any(a => a is "--server" or "--internal-msbuild-node")
        ? Xunit.MicrosoftTestingPlatform.TestPlatformTestFramework.RunAsync(args, SelfRegisteredExtensions.AddSelfRegisteredExtensions).GetAwaiter().GetResult()
        : Xunit.Runner.InProc.SystemConsole.ConsoleRunner.Run(args).GetAwaiter().GetResult();

    /// <summary>Makes a tower of each kind and writes what happened.</summary>
    private static int Create()
    {
        Console.Out.WriteLine($"available: {LibTorchTowers.IsAvailable}");
        foreach (ITowerFactory factory in new ITowerFactory[] { new LibTorchTowers(), TorchScriptTowers.FromSource("") })
            try
            {
                factory.Create(TowerConformance.Specs[0], 1).Dispose();
                Console.Out.WriteLine("made");
            }
            catch (FedLearnException e)
            {
                Console.Out.WriteLine($"{e.ExitCode} {e.Message}");
            }

        return 0;
    }

    /// <summary>Runs the kit and writes the bits of a trained tower, or what does not conform.</summary>
    private static int Conform()
    {
        try
        {
            foreach (TowerConformance.Check check in TowerConformance.All.Values)
                foreach (TowerSpec spec in TowerConformance.Specs.Where((_, i) => i % 3 == 0))
                    check(new LibTorchTowers(), spec);
            Console.Out.WriteLine("conforms");
            return 0;
        }
        catch (ConformanceException e)
        {
            Console.Out.WriteLine(e.Message);
            return 1;
        }
    }
}

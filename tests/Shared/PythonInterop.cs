using System.Diagnostics;
using System.Runtime.CompilerServices;

namespace FedLearn.Tests.Shared;

/// <summary>Parties in Python on grpcio, scripts of tests/interop: the other end of the wire, of which none of ours is a part.</summary>
internal static class PythonInterop
{
    private const string Python = "/usr/bin/python3";

    /// <summary>Skips the test where Debian's grpcio is absent.</summary>
    /// <param name="masks">Whether the script masks, for which it needs Debian's python3-cryptography too.</param>
    internal static void Require(bool masks = false)
    {
        foreach ((string program, string[] arguments) in new (string, string[])[] { (Python, ["-c", "import grpc, numpy" + (masks ? ", cryptography" : "")]), ("protoc", ["--version"]), ("which", ["grpc_python_plugin"]) })
        {
            try
            {
                using Process process = Run(program, arguments);
                process.WaitForExit();
                if (process.ExitCode == 0)
                    continue;
            }
            catch (System.ComponentModel.Win32Exception)
            {
                // absent
            }

            Assert.Skip($"Debian's python3-grpcio, python3-numpy,{(masks ? " python3-cryptography," : "")} protobuf-compiler and protobuf-compiler-grpc are needed.");
        }
    }

    /// <summary>Starts a script.</summary>
    internal static Process Start(string script, params string[] arguments) => Run(Python, [PathOf(script), .. arguments]);

    /// <summary>Runs a script to its end.</summary>
    /// <returns>What it printed; the test fails where it fails.</returns>
    internal static async Task<string> RunAsync(string script, params string[] arguments)
    {
        (int code, string output, string error) = await RunRawAsync(script, arguments);
        Assert.True(code == 0, error);
        return output;
    }

    internal static async Task<(int Code, string Output, string Error)> RunRawAsync(string script, params string[] arguments)
    {
        using Process process = Start(script, arguments);
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        Task<string> output = process.StandardOutput.ReadToEndAsync(patience.Token), error = process.StandardError.ReadToEndAsync(patience.Token);
        try
        {
            await process.WaitForExitAsync(patience.Token);
            return (process.ExitCode, await output, await error);
        }
        finally
        {
            if (!process.HasExited)
                process.Kill(entireProcessTree: true);
        }
    }

    private static Process Run(string program, string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["PYTHONDONTWRITEBYTECODE"] = "1";
        return Process.Start(start)!;
    }

    /// <summary>Where a script is.</summary>
    internal static string PathOf(string script) => Path.Combine(Folder(), script);

    private static string Folder([CallerFilePath] string here = "") => Path.Combine(Path.GetDirectoryName(here)!, "..", "interop");
}

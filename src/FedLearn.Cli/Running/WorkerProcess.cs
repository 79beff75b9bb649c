using System.Collections.Concurrent;
using System.Diagnostics;
using System.Reflection;
using System.Text;
using FedLearn.Diagnostics;

namespace FedLearn.Cli.Running;

/// <summary>A party's child process: takes an order and tells what happens in lines of JSON. It ends after its order, or, where it stays, waits for the next one.</summary>
internal sealed class WorkerProcess : IDisposable
{
    /// <summary>Option with the party's name.</summary>
    public const string Party = "--party";

    /// <summary>How long a process that was asked to end may take.</summary>
    internal static readonly TimeSpan StopGrace = TimeSpan.FromSeconds(2);

    private readonly Process _process;

    /// <summary>Follows a process that was started with all its streams redirected.</summary>
    /// <param name="process">The process.</param>
    internal WorkerProcess(Process process)
    {
        _process = process;
        Errors = process.StandardError.ReadToEndAsync(CancellationToken.None);
    }

    /// <summary>Lines of what happens.</summary>
    public StreamReader Lines => _process.StandardOutput;

    /// <summary>What it says on standard error until its end.</summary>
    public Task<string> Errors { get; }

    /// <summary>Starts a process, and gives it its first order.</summary>
    /// <param name="party">The party.</param>
    /// <param name="order">The order.</param>
    /// <exception cref="InternalFailureException">FL6050: it did not start.</exception>
    public static WorkerProcess Start(string party, WorkerOrder order)
    {
        // An installed tool is its own executable; otherwise the process is dotnet, or a test host, and the tool a library.
        string self = Environment.ProcessPath!;
        Assembly tool = typeof(WorkerProcess).Assembly;
        bool dotnet = Path.GetFileNameWithoutExtension(self) == "dotnet", own = !dotnet && Assembly.GetEntryAssembly() == tool;
        string program = own || dotnet ? self : "dotnet";
        var start = new ProcessStartInfo(program, [.. own ? Array.Empty<string>() : [tool.Location], "worker", Party, party])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            StandardInputEncoding = new UTF8Encoding(encoderShouldEmitUTF8Identifier: false),
            StandardOutputEncoding = Encoding.UTF8,
            UseShellExecute = false,
        };
        try
        {
            var worker = new WorkerProcess(Process.Start(start)!);
            worker.TryAsk(order); // a process that has ended already is noticed by the end of its lines
            return worker;
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            throw new InternalFailureException(RunningErrors.ChildFailed, $"party '{party}'", $"its process ('{program}') did not start.",
                "Look at the system's limits, or use --in-process.", e);
        }
    }

    /// <summary>Gives a process an order.</summary>
    /// <param name="order">The order.</param>
    /// <returns>Whether it is there to take it: it may have ended, by whatever death.</returns>
    public bool TryAsk(WorkerOrder order)
    {
        try
        {
            _process.StandardInput.WriteLine(order.ToLine());
            _process.StandardInput.Flush();
            return true;
        }
        catch (IOException)
        {
            return false;
        }
    }

    /// <summary>Waits for its end.</summary>
    /// <returns>Its exit code.</returns>
    public async Task<int> EndAsync()
    {
        await _process.WaitForExitAsync(CancellationToken.None).ConfigureAwait(false);
        return _process.ExitCode;
    }

    /// <summary>Asks it to end, by the end of its standard input: it then tells its peers and settles its charges. One that has not ended after <see cref="StopGrace"/> is killed.</summary>
    public void Stop()
    {
        try
        {
            _process.StandardInput.Close();
        }
        catch (Exception e) when (e is IOException or InvalidOperationException)
        {
            // It has ended by itself, or something that was written to it is lost with it.
        }

        _ = KillLateAsync();

        async Task KillLateAsync()
        {
            using var limit = new CancellationTokenSource(StopGrace);
            try
            {
                await _process.WaitForExitAsync(limit.Token).ConfigureAwait(false);
            }
            catch (OperationCanceledException)
            {
                Kill();
            }
            catch (InvalidOperationException)
            {
                // It has ended, and was let go.
            }
        }
    }

    /// <summary>Ends it, and what it has started.</summary>
    public void Kill()
    {
        try
        {
            _process.Kill(entireProcessTree: true);
        }
        catch (Exception e) when (e is InvalidOperationException or System.ComponentModel.Win32Exception)
        {
            // It has ended by itself.
        }
    }

    /// <summary>Lets go of it: it ends when its standard input does, so it cannot outlive this process either.</summary>
    public void Dispose() => _process.Dispose();
}

/// <summary>Processes that stay from one session to the next, for many short ones: a process takes about a second to start and to compile what it needs.</summary>
internal sealed class WorkerPool : IDisposable
{
    private readonly ConcurrentDictionary<string, WorkerProcess> _idle = new();

    /// <summary>Gives an order to the party's process that waits for one.</summary>
    /// <param name="party">The party.</param>
    /// <param name="order">The order.</param>
    /// <returns>The process; null where none waits.</returns>
    public WorkerProcess? Ask(string party, WorkerOrder order)
    {
        if (!_idle.TryRemove(party, out WorkerProcess? worker) || worker.TryAsk(order))
            return worker;
        worker.Dispose();
        return null;
    }

    /// <summary>Keeps a party's process for the next session.</summary>
    public void Keep(string party, WorkerProcess worker) => _idle[party] = worker;

    /// <inheritdoc />
    public void Dispose()
    {
        foreach (WorkerProcess worker in _idle.Values)
        {
            worker.Kill();
            worker.Dispose();
        }
    }
}

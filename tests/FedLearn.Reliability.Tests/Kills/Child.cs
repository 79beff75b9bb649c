using System.Diagnostics;

namespace FedLearn.Reliability.Tests.Kills;

/// <summary>A process of this program that a test starts, listens to, and kills (SIGKILL on Unix).</summary>
internal sealed class Child : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(180);

    private readonly Process _process;
    private readonly Lock _gate = new();
    private readonly List<string> _lines = [];
    private readonly Task _reading, _errors;
    private TaskCompletionSource _more = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private string _error = "";

    private Child(Process process)
    {
        _process = process;
        _reading = ReadAsync();
        _errors = Task.Run(async () => _error = await process.StandardError.ReadToEndAsync());
    }

    /// <summary>What it has said so far.</summary>
    public IReadOnlyList<string> Lines
    {
        get
        {
            lock (_gate)
                return [.. _lines];
        }
    }

    /// <summary>Starts a child of recommendation.</summary>
    public static Child Start(params string[] arguments) => StartAs(["recommendation", .. arguments]);

    /// <summary>Starts a child.</summary>
    public static Child StartAs(params string[] arguments)
    {
        var start = new ProcessStartInfo(Environment.ProcessPath!) { RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true };
        if (Path.GetFileNameWithoutExtension(Environment.ProcessPath) == "dotnet")
            start.ArgumentList.Add(typeof(Child).Assembly.Location);
        foreach (string argument in (IEnumerable<string>)["child", .. arguments])
            start.ArgumentList.Add(argument);
        return new Child(Process.Start(start)!);
    }

    /// <summary>Waits for a line that begins so, the number-th of its kind.</summary>
    /// <returns>The line; null when the process ended before.</returns>
    public async Task<string?> LineAsync(string beginning, int number = 1)
    {
        while (true)
        {
            Task more;
            lock (_gate)
            {
                string[] found = [.. _lines.Where(line => line.StartsWith(beginning, StringComparison.Ordinal))];
                if (found.Length >= number)
                    return found[number - 1];
                more = _more.Task;
            }

            if (_reading.IsCompleted)
                return null;
            await Task.WhenAny(more, _reading).WaitAsync(Patience);
        }
    }

    /// <summary>Lets it go on from where it waits for a line.</summary>
    public void Tell() => _process.StandardInput.WriteLine();

    /// <summary>Kills it, and waits until it is gone.</summary>
    public async Task KillAsync()
    {
        _process.Kill();
        await _process.WaitForExitAsync().WaitAsync(Patience);
        await _reading.WaitAsync(Patience);
    }

    /// <summary>Waits for its end, which must be a good one.</summary>
    /// <param name="code">Exit code of a good one.</param>
    public async Task EndAsync(int code = 0)
    {
        try
        {
            await _process.WaitForExitAsync().WaitAsync(Patience);
        }
        catch (TimeoutException)
        {
            Assert.Fail($"A child does not end. It said: {string.Join(" / ", Lines.TakeLast(12))}");
        }

        await Task.WhenAll(_reading, _errors).WaitAsync(Patience);
        Assert.True(_process.ExitCode == code, $"A child ended with {_process.ExitCode}: {_error}\n{string.Join(" / ", Lines.TakeLast(12))}");
    }

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
            await KillAsync();
        _process.Dispose();
    }

    private async Task ReadAsync()
    {
        while (await _process.StandardOutput.ReadLineAsync() is { } line)
        {
            TaskCompletionSource told;
            lock (_gate)
            {
                _lines.Add(line);
                told = _more;
                _more = new(TaskCreationOptions.RunContinuationsAsynchronously);
            }

            told.TrySetResult();
        }
    }
}

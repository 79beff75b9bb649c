using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;

namespace FedLearn.Cli.Tests.Sessions;

/// <summary>The tool as a process of its own, as people start it.</summary>
internal sealed partial class ToolProcess : IDisposable
{
    public const int Interrupt = 2, Terminate = 15, Continue = 18, Stop = 19;

    /// <summary>How long anything may take on a machine that is busy with much else.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);

    private readonly Process _process;
    private readonly Lock _gate = new();
    private readonly StringBuilder _error = new();
    private readonly MemoryStream _output = new();
    private readonly Task _ended;
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private ToolProcess(Process process)
    {
        _process = process;
        _ended = Task.WhenAll(process.StandardOutput.BaseStream.CopyToAsync(_output), ReadErrorAsync());
    }

    public int Id => _process.Id;

    /// <summary>Standard output as it came.</summary>
    public byte[] Output => _output.ToArray();

    public string Error
    {
        get
        {
            lock (_gate)
                return _error.ToString();
        }
    }

    public static ToolProcess Start(params string[] args) => StartWith("LC_ALL", null, args);

    /// <summary>Starts the tool.</summary>
    /// <param name="locale">Value of LC_ALL; null for that of the tests.</param>
    /// <param name="args">Arguments.</param>
    public static ToolProcess Start(string? locale, string[] args) => StartWith("LC_ALL", locale, args);

    /// <summary>Starts the tool with a variable of the environment.</summary>
    /// <param name="variable">Its name.</param>
    /// <param name="value">Its value; null for that of the tests.</param>
    /// <param name="args">Arguments.</param>
    public static ToolProcess StartWith(string variable, string? value, string[] args) => StartWith([(variable, value)], args);

    /// <summary>Starts the tool with variables of the environment.</summary>
    /// <param name="variables">Names and values; null for that of the tests.</param>
    /// <param name="args">Arguments.</param>
    public static ToolProcess StartWith(IEnumerable<(string Name, string? Value)> variables, string[] args)
    {
        var start = new ProcessStartInfo("dotnet", [typeof(Tool).Assembly.Location, .. args])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            StandardErrorEncoding = Encoding.UTF8,
        };
        foreach ((string name, string? value) in variables)
            if (value is not null)
                start.Environment[name] = value;
        return new ToolProcess(Process.Start(start)!);
    }

    /// <summary>Waits until standard error has a text.</summary>
    /// <param name="part">The text.</param>
    /// <param name="times">How often.</param>
    public async Task SaysAsync(string part, int times = 1)
    {
        while (true)
        {
            Task changed;
            lock (_gate)
            {
                if (_error.ToString().Split(part).Length > times)
                    return;
                Assert.False(_ended.IsCompleted, $"The tool ended without saying '{part}': {_error}");
                changed = _changed.Task;
            }

            await Task.WhenAny(changed, _ended).WaitAsync(Patience, TestContext.Current.CancellationToken);
        }
    }

    /// <summary>Waits for its end.</summary>
    public async Task<ToolRun> EndAsync()
    {
        try
        {
            await _ended.WaitAsync(Patience, TestContext.Current.CancellationToken);
        }
        catch (TimeoutException)
        {
            Assert.Fail($"The tool has not ended. It said: {Error}");
        }

        await _process.WaitForExitAsync(TestContext.Current.CancellationToken);
        return new ToolRun(_process.ExitCode, Encoding.UTF8.GetString(Output), Error);
    }

    /// <summary>Whether the process has a file mapped, such as an assembly.</summary>
    public bool HasMapped(string fileName) => File.ReadAllText($"/proc/{Id}/maps").Contains("/" + fileName, StringComparison.Ordinal);

    /// <summary>Waits until the process has a file open.</summary>
    public async Task OpensAsync(string path)
    {
        using var tick = new PeriodicTimer(TimeSpan.FromMilliseconds(20));
        long start = Stopwatch.GetTimestamp();
        while (!Directory.GetFiles($"/proc/{Id}/fd").Any(file => new FileInfo(file).LinkTarget == path))
        {
            Assert.True(Stopwatch.GetElapsedTime(start) < Patience, $"The tool does not open {path}. It said: {Error}");
            await tick.WaitForNextTickAsync(TestContext.Current.CancellationToken);
        }
    }

    /// <summary>SIGKILL to this process alone.</summary>
    public void Kill() => _process.Kill();

    public static void Send(int process, int signal) => Assert.Equal(0, SendSignal(process, signal));

    /// <summary>Processes that a process started and that still run, with their command lines.</summary>
    public static IReadOnlyList<(int Id, string[] Command)> Children(int parent)
    {
        var children = new List<(int, string[])>();
        foreach (string folder in Directory.GetDirectories("/proc").Where(f => int.TryParse(Path.GetFileName(f), out _)))
            if (StateOf(folder) is (not 'Z', var of) && of == parent)
                children.Add((int.Parse(Path.GetFileName(folder), System.Globalization.CultureInfo.InvariantCulture), File.ReadAllText(folder + "/cmdline").Split('\0')));
        return children;
    }

    /// <summary>Waits until none of some processes runs any more.</summary>
    public static async Task GoneAsync(IEnumerable<int> processes)
    {
        using var tick = new PeriodicTimer(TimeSpan.FromMilliseconds(50));
        long start = Stopwatch.GetTimestamp();
        foreach (int id in processes)
            while (StateOf($"/proc/{id}") is not (null or ('Z', _)))
            {
                Assert.True(Stopwatch.GetElapsedTime(start) < Patience, $"Process {id} still runs.");
                await tick.WaitForNextTickAsync(TestContext.Current.CancellationToken);
            }
    }

    public void Dispose()
    {
        _process.Kill(entireProcessTree: true);
        _process.Dispose();
    }

    private async Task ReadErrorAsync()
    {
        char[] buffer = new char[4096];
        while (await _process.StandardError.ReadAsync(buffer) is > 0 and int count)
        {
            lock (_gate)
            {
                _error.Append(buffer, 0, count);
                _changed.TrySetResult();
                _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
            }
        }
    }

    // The name in parentheses may have blanks; what follows it is: state, parent.
    private static (char State, int Parent)? StateOf(string folder)
    {
        try
        {
            string stat = File.ReadAllText(folder + "/stat");
            string[] fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
            return (fields[0][0], int.Parse(fields[1], System.Globalization.CultureInfo.InvariantCulture));
        }
        catch (IOException)
        {
            return null;
        }
    }

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int SendSignal(int process, int signal);
}

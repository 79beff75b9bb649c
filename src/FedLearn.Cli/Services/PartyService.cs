using System.Runtime.InteropServices;
using FedLearn.Cli.Output;
using FedLearn.Cli.RunFiles;
using FedLearn.Diagnostics;
using Microsoft.Extensions.Hosting.Systemd;

namespace FedLearn.Cli.Services;

/// <summary>Parties of several jobs in one process that lives long.</summary>
internal static class PartyService
{
    /// <summary>Runs until stopped, or until every job is an active party's and over.</summary>
    /// <param name="files">Party files, one a job.</param>
    /// <param name="overrides">Values that stand in for those of the files.</param>
    /// <param name="options">Options of the service.</param>
    /// <param name="terminal">Told what happens.</param>
    /// <param name="cancellationToken">Ends it in good order, as SIGTERM and Ctrl-C do.</param>
    /// <returns>The exit code: 0 when it was stopped, or all jobs succeeded; else that of the first error.</returns>
    /// <exception cref="FedLearnException">No file can be used, the health checks have no address, or a session did not end in time (FL4171).</exception>
    public static async Task<int> RunAsync(IReadOnlyList<string> files, FileOverrides overrides, ServiceOptions options, Terminal terminal, CancellationToken cancellationToken)
    {
        // Signals are handled from here on. The command line's own handler begins only once a verb first waits, and a service must not die of a signal before that.
        using var stopping = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        CancellationToken stop = stopping.Token;
        void Ask(PosixSignalContext signal)
        {
            signal.Cancel = true;
            _ = stopping.CancelAsync();
        }

        using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Ask);
        using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Ask);
        OutputFile.Check(options.Results);
        Action<string?> log = ServiceManager.Dated(terminal.Log);
        var jobs = new List<ServiceJob>();
        var unusable = new List<(JobStatus Status, FedLearnException Error)>();
        foreach (string path in files)
            try
            {
                jobs.Add(Load(path, overrides, options.Results, jobs, log));
            }
            catch (FedLearnException e)
            {
                log($"[{path}] not started: {e.Message}");
                unusable.Add((new JobStatus(null, null, null, "failed", 0, e.Id), e));
            }

        if (jobs.Count == 0)
            throw unusable[0].Error;
        IReadOnlyList<JobStatus> Status() => [.. jobs.Select(j => j.Status), .. unusable.Select(u => u.Status)];
        await using HealthHost? health = options.Health is { } address
            ? await HealthHost.StartAsync(address, Status, () => stop.IsCancellationRequested, CancellationToken.None).ConfigureAwait(false) : null;
        if (health is not null)
            log($"health checks on {health.Address}");
        Task<FedLearnException?>[] running = [.. jobs.Select(job => Task.Run(() => job.RunAsync(stop), CancellationToken.None))];
        log($"service started: {jobs.Count} {Counted.Noun(jobs.Count, "job")}");
        ServiceManager.Notify(ServiceState.Ready, log);
        Task all = Task.WhenAll(running);
        await all.WaitAsync(stop).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        ServiceManager.Notify(ServiceState.Stopping, log);
        if (!stop.IsCancellationRequested)
        {
            FedLearnException?[] errors = [.. running.Select(r => r.Result), .. unusable.Select(u => u.Error)];
            log($"service ended: {errors.Count(e => e is null)} of {errors.Length} {Counted.Noun(errors.Length, "job")} succeeded");
            return errors.FirstOrDefault(e => e is not null)?.ExitCode ?? 0;
        }

        log("stopping: no new sessions, and those in progress are ended");
        try
        {
            await all.WaitAsync(options.StopTime, CancellationToken.None).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            // The end that was asked for.
        }
        catch (TimeoutException e)
        {
            string[] open = [.. jobs.Where((_, i) => !running[i].IsCompleted).Select(j => $"'{j.Name}'")];
            throw new PeerException(ServiceErrors.StopTookTooLong, "fedlearn party --service", $"the session of {string.Join(", ", open)} did not end within {options.StopTime.TotalSeconds:0.#} s.",
                "Its peer sees a lost connection. Give a stop more time with --stop-seconds.", e);
        }

        log("stopped");
        return 0;
    }

    private static ServiceJob Load(string path, FileOverrides overrides, string results, List<ServiceJob> jobs, Action<string?> log)
    {
        PartyFile file = PartyFile.Load(path, settings: overrides);
        if (jobs.Find(j => j.File.Run.Name == file.Run.Name && j.File.Self.Name == file.Self.Name) is { } other)
            throw new ConfigurationException(ServiceErrors.SameJobTwice, path, $"{other.File.Path}, of this service too, is the same party of a job of the same name.", "Name each party of a job once, and give other jobs other names.");
        return new ServiceJob(file, results, log, TimeProvider.System);
    }
}

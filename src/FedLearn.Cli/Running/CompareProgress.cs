using FedLearn.Cli.Output;
using Spectre.Console;

namespace FedLearn.Cli.Running;

/// <summary>Shows on standard error how far a comparison is: one bar over all runs on a terminal; elsewhere one line a run, and tenths of the slow ones.</summary>
/// <param name="terminal">Standard error.</param>
/// <param name="party">The active party, which knows the loss.</param>
/// <param name="runs">Number of runs.</param>
internal sealed class CompareProgress(Terminal terminal, string party, int runs) : IProgress<JobProgress>
{
    private ProgressTask? _bar;
    private ProgressView? _tenths;
    private string _name = "";
    private int _begun;

    /// <summary>Runs something with the view open.</summary>
    public static Task<T> RunAsync<T>(Terminal terminal, string party, int runs, Func<CompareProgress, Task<T>> work)
    {
        var view = new CompareProgress(terminal, party, runs);
        return terminal.IsPlain ? work(view) : terminal.WithBarAsync("starting", Math.Max(1, runs), new ElapsedTimeColumn(), bar =>
        {
            view._bar = bar;
            return work(view);
        });
    }

    /// <summary>The next run begins.</summary>
    /// <param name="row">Its row.</param>
    /// <param name="turn">Which of the row's runs it is, from 1.</param>
    /// <param name="turns">How many the row has.</param>
    public void Begin(CompareCase row, int turn, int turns)
    {
        Skip();
        _name = $"{_begun} of {runs}: {row.Name}{(turns > 1 ? $", run {turn} of {turns}" : "")}";
        _tenths = terminal.IsPlain && row.IsSlow ? new ProgressView(terminal, party) : null;
        if (_bar is null)
            terminal.Log(_name);
        else
            _bar.Description = Markup.Escape(_name);
    }

    /// <summary>The next run is left out.</summary>
    public void Skip()
    {
        if (_bar is not null)
            _bar.Value = _begun;
        _begun++;
    }

    /// <summary>Takes one report.</summary>
    public void Report(JobProgress value)
    {
        _tenths?.Report(value);
        if (_bar is null || value.Party != party)
            return;
        _bar.Value = _begun - 1 + (double)value.Done / Math.Max(1, value.Of);
        _bar.Description = Markup.Escape(value.IsStage ? $"{_name}, {value.Unit}" : $"{_name}, {value.Unit} {value.Done} of {value.Of}");
    }
}

using System.Globalization;
using FedLearn.Cli.Running;
using Spectre.Console;

namespace FedLearn.Cli.Output;

/// <summary>Shows a running job on standard error: a bar on a terminal; elsewhere a line for the first report and for each tenth of the way.</summary>
/// <param name="terminal">Standard error.</param>
/// <param name="party">The party whose reports are shown: with all parties here the active one, which knows the loss.</param>
internal sealed class ProgressView(Terminal terminal, string party) : IProgress<JobProgress>
{
    private const int Steps = 10;

    private readonly Lock _gate = new();
    private ProgressTask? _bar;
    private readonly Dictionary<string, int> _lastSteps = [];

    /// <summary>Runs something with the view open.</summary>
    public static Task<T> RunAsync<T>(Terminal terminal, string party, Func<ProgressView, Task<T>> work)
    {
        var view = new ProgressView(terminal, party);
        return terminal.IsPlain ? work(view) : RunStyledAsync(terminal, view, work);
    }

    // A method of its own, so that the library which draws the bar is loaded only where one is drawn.
    private static Task<T> RunStyledAsync<T>(Terminal terminal, ProgressView view, Func<ProgressView, Task<T>> work) =>
        terminal.WithBarAsync("waiting for the parties", 1, new RemainingTimeColumn(), bar =>
        {
            view._bar = bar;
            bar.IsIndeterminate = true;
            return work(view);
        });

    /// <summary>Takes one report.</summary>
    public void Report(JobProgress value)
    {
        if (value.Party != party)
            return;
        lock (_gate)
        {
            if (value.IsStage)
            {
                Begin(value.Unit);
                return;
            }

            string text = string.Create(CultureInfo.InvariantCulture, $"{value.Unit} {value.Done} of {value.Of}")
                + (value.Loss is { } loss ? $", loss {Number(loss)}" : "")
                + string.Concat(value.Figures.Select(f => $", {f.Key} {Number(f.Value)}"));
            if (_bar is not null)
            {
                _bar.IsIndeterminate = false;
                _bar.MaxValue = value.Of;
                _bar.Value = value.Done;
                _bar.Description = Markup.Escape(text);
                return;
            }

            int step = (int)((long)value.Done * Steps / value.Of);
            if (_lastSteps.TryGetValue(value.Unit, out int last) && step == last)
                return;
            _lastSteps[value.Unit] = step;
            terminal.Log(text);
        }
    }

    // A loss that diverges would fill lines with its digits.
    private static string Number(double value) => value.ToString(Math.Abs(value) < 1e6 ? "0.0000" : "G4", CultureInfo.InvariantCulture);

    private void Begin(string stage)
    {
        if (_bar is null)
        {
            terminal.Log(stage);
            return;
        }

        _bar.IsIndeterminate = true;
        _bar.Description = Markup.Escape(stage);
    }
}

using System.Globalization;
using FedLearn.Glm;
using Spectre.Console;

namespace FedLearn.Cli.Output;

/// <summary>Shows a running job on standard error: a bar on a terminal, a line for each tenth of the rounds elsewhere.</summary>
internal sealed class ProgressView : IProgress<GlmProgress>
{
    private const int Steps = 10;

    private readonly Lock _gate = new();
    private ProgressTask? _bar;
    private int _lastStep;

    /// <summary>Runs something with the view open.</summary>
    public static async Task<T> RunAsync<T>(Func<ProgressView, Task<T>> work)
    {
        var view = new ProgressView();
        if (Console.IsErrorRedirected)
            return await work(view).ConfigureAwait(false);
        return await Terminal.Error.Progress().AutoClear(true).HideCompleted(true)
            .Columns(new SpinnerColumn(), new TaskDescriptionColumn { Alignment = Justify.Left }, new ProgressBarColumn(), new PercentageColumn(), new RemainingTimeColumn())
            .StartAsync(async context =>
            {
                view._bar = context.AddTask("waiting for the parties", maxValue: 1);
                view._bar.IsIndeterminate = true;
                return await work(view).ConfigureAwait(false);
            }).ConfigureAwait(false);
    }

    /// <summary>Takes one report. The party that reports a loss, the active one, moves the bar.</summary>
    public void Report(GlmProgress value)
    {
        if (value.Loss is not { } loss)
            return;
        lock (_gate)
        {
            string text = string.Create(CultureInfo.InvariantCulture, $"round {value.Round} of {value.Rounds}, loss {loss:0.0000}")
                + (value.Epsilon is { } epsilon ? string.Create(CultureInfo.InvariantCulture, $", epsilon {epsilon:0.0000}") : "");
            if (_bar is not null)
            {
                _bar.IsIndeterminate = false;
                _bar.MaxValue = value.Rounds;
                _bar.Value = value.Round;
                _bar.Description = text;
                return;
            }

            int step = (int)((long)value.Round * Steps / value.Rounds);
            if (step == _lastStep)
                return;
            _lastStep = step;
            Console.Error.WriteLine(text);
        }
    }
}

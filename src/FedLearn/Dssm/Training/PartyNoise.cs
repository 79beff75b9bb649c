using System.Diagnostics;
using FedLearn.Coordination;
using FedLearn.Privacy;

namespace FedLearn.Dssm;

/// <summary>The mechanisms of one party; null where nothing is noised.</summary>
internal sealed record PartyNoise
{
    public static PartyNoise None { get; } = new();

    /// <summary>Noise on the vectors, or on the returned gradients.</summary>
    public GaussianMechanism? Messages { get; init; }

    /// <summary>Noise on the summed gradients of the party's tower, and of its fusion.</summary>
    public GaussianMechanism? Parameters { get; init; }

    /// <summary>Noise on the summed gradients of the items' vectors.</summary>
    public GaussianMechanism? Items { get; init; }

    /// <summary>Noise on vectors for evaluation.</summary>
    public GaussianMechanism? Evaluation { get; init; }

    /// <summary>Adds how far each mechanism is. Between two rounds no release is under way.</summary>
    public void Save(StateWriter state)
    {
        foreach ((string name, GaussianMechanism mechanism) in Mechanisms())
            state.Add($"noise.{name}.released", (long)mechanism.Position.Released).Add($"noise.{name}.draws", mechanism.Position.Draws);
    }

    /// <summary>Goes on where <see cref="Save"/> was: what was noised after that is found again, and not drawn twice.</summary>
    public void Continue(StateReader state)
    {
        foreach ((string name, GaussianMechanism mechanism) in Mechanisms())
            mechanism.ContinueAt(new MechanismPosition(state.Integer32($"noise.{name}.released"), state.Integer($"noise.{name}.draws")));
    }

    // Without Evaluation, which is the mechanism of the messages.
    private IEnumerable<(string Name, GaussianMechanism Mechanism)> Mechanisms() =>
        new[] { ("messages", Messages), ("items", Items), ("parameters", Parameters) }.Where(m => m.Item2 is not null).Select(m => (m.Item1, m.Item2!));

    /// <summary>Time spent on noise, where it is a step of its own.</summary>
    public TimeSpan Time => new[] { Messages, Parameters, Items, Evaluation }.OfType<GaussianMechanism>().Aggregate(TimeSpan.Zero, (sum, m) => sum + m.NoiseTime);
}

/// <summary>Where a party's time goes.</summary>
internal sealed class PartyClock
{
    private readonly long _start = Stopwatch.GetTimestamp();
    private long _waited;

    /// <summary>Seconds since the clock was made.</summary>
    public double Seconds => Stopwatch.GetElapsedTime(_start).TotalSeconds;

    /// <summary>Waits for another party.</summary>
    public async ValueTask<T> WaitAsync<T>(ValueTask<T> peer)
    {
        long start = Stopwatch.GetTimestamp();
        T result = await peer.ConfigureAwait(false);
        _waited += Stopwatch.GetTimestamp() - start;
        return result;
    }

    /// <summary>Waits for another party.</summary>
    public async ValueTask WaitAsync(ValueTask peer)
    {
        long start = Stopwatch.GetTimestamp();
        await peer.ConfigureAwait(false);
        _waited += Stopwatch.GetTimestamp() - start;
    }

    /// <summary>What the training took.</summary>
    public DssmTiming Timing(TimeSpan noise, int epochs)
    {
        double all = Seconds, wait = Stopwatch.GetElapsedTime(0, _waited).TotalSeconds;
        return new DssmTiming(all, Math.Max(0, all - wait - noise.TotalSeconds), wait, noise.TotalSeconds, epochs);
    }
}

using FedLearn.Coordination;

namespace FedLearn.Dssm;

/// <summary>Keeps the parameters of the best epoch.</summary>
internal sealed class BestModel(params IReadOnlyList<ITower> towers)
{
    private readonly double[][] _kept = [.. towers.Select(t => new double[t.ParameterCount])];

    /// <summary>The best epoch, from 1; 0 before there is one.</summary>
    public int Epoch { get; private set; }

    /// <summary>Follows what the active party says of an epoch.</summary>
    public void Note(StopVerdict verdict, int epoch)
    {
        if (!verdict.IsBest())
            return;
        for (int i = 0; i < towers.Count; i++)
            towers[i].GetParameters(_kept[i]);
        Epoch = epoch;
    }

    /// <summary>Adds the best epoch and its parameters.</summary>
    public void Save(StateWriter state)
    {
        state.Add("best", (long)Epoch);
        for (int i = 0; i < _kept.Length && Epoch > 0; i++)
            state.AddUncopied($"best.{i}", _kept[i]);
    }

    /// <summary>Goes on with what <see cref="Save"/> added.</summary>
    public void Load(StateReader state)
    {
        Epoch = state.Integer32("best");
        for (int i = 0; i < _kept.Length && Epoch > 0; i++)
            state.Doubles($"best.{i}", _kept[i].Length).CopyTo(_kept[i], 0);
    }

    /// <summary>Goes back to the best epoch, if there is one.</summary>
    public void Restore()
    {
        for (int i = 0; i < towers.Count && Epoch > 0; i++)
            towers[i].SetParameters(_kept[i]);
    }
}

using System.Numerics.Tensors;
using FedLearn.Privacy;
using FedLearn.Protocol;

namespace FedLearn.Dssm;

/// <summary>The sum of one attempt's updates, in integers wherever they are noised or masked.</summary>
internal sealed class DeviceAggregate(DevicePlan plan, DeviceCalibration? calibration, int length)
{
    private readonly double _step = calibration?.Step ?? DevicePlan.FixedPoint;
    private readonly long[] _integers = new long[length];
    private readonly double[] _numbers = new double[length];
    private bool _exact;

    /// <summary>Adds an update that came without masks.</summary>
    /// <exception cref="Diagnostics.PeerException">FL4002 or FL4017: it is none of this job.</exception>
    public void Add(ModelUpdate update, string device)
    {
        if (plan.IsPrivate)
        {
            if (update.Lattice is not { } lattice || lattice.Length != length || lattice.Step != _step)
                throw ProtocolErrors.Peer(ProtocolErrors.IllegalValue, device, "device update", "sent an update that is not on the lattice of the job's noise.",
                    "Check that the device runs the same job.");
            long[] integers = lattice.Integers();
            // Plain sums of fewer than 2^11 integers of 52 bits; the plan has seen to room for all.
            for (int j = 0; j < length; j++)
                _integers[j] += integers[j];
            return;
        }

        // The mean is over the samples: one number of them that is none would spoil the model of all.
        if (!(update.Values.Span[^1] is >= 0 and <= int.MaxValue and var samples && samples == Math.Floor(samples)))
            throw ProtocolErrors.Peer(ProtocolErrors.IllegalValue, device, "device update", "sent an update whose number of samples is no whole number from 0.",
                "Check that the device runs the same job. For one of your own see docs/protocol.md.");
        _exact = true;
        TensorPrimitives.Add(_numbers, update.Values.Span, _numbers);
    }

    /// <summary>Takes a sum whose masks have cancelled.</summary>
    public void Take(ReadOnlySpan<long> integers) => integers.CopyTo(_integers);

    /// <summary>The sum of the federated blocks, and the number of samples where the job is not private.</summary>
    public (double[] Sum, double Samples) Open()
    {
        double[] sum = _numbers;
        if (!_exact)
            for (int j = 0; j < length; j++)
                sum[j] = _integers[j] * _step;
        return plan.IsPrivate ? (sum, 0) : (sum[..^1], sum[^1]);
    }
}

/// <summary>The server's model: versions, and the optimiser between them. All of it is post-processing of opened sums.</summary>
internal sealed class DeviceModelState
{
    private readonly DevicePlan _plan;
    private readonly DeviceWork _work;
    private readonly ParameterOptimizer _optimizer;

    public DeviceModelState(DevicePlan plan, DeviceWork work)
    {
        (_plan, _work, _optimizer) = (plan, work, new ParameterOptimizer(plan.Job.Training.ServerOptimizer));
        Parameters = work.Start[..work.FederatedLength].ToArray();
    }

    public int Version { get; private set; }

    /// <summary>The federated blocks. Changed in place by <see cref="Apply"/>.</summary>
    public double[] Parameters { get; }

    public DeviceModel Model => new(Version, _work.Block(Parameters, 0).ToArray(),
        _plan.ItemOnly ? [] : [.. Enumerable.Range(1, _plan.Views.Count).Select(v => _work.Block(Parameters, v).ToArray())]);

    /// <summary>Adds version, parameters and the optimiser.</summary>
    public void Save(Coordination.StateWriter state)
    {
        state.Add("version", (long)Version).Add("parameters", Parameters);
        _optimizer.Save(state, "optimizer");
    }

    /// <summary>Goes on with what <see cref="Save"/> added.</summary>
    public void Load(Coordination.StateReader state)
    {
        Version = state.Integer32("version");
        state.Doubles("parameters", Parameters.Length).CopyTo(Parameters, 0);
        _optimizer.Restore(state, "optimizer");
    }

    /// <summary>Steps by the mean of an opened sum: over q N devices in private modes, whoever took part, and over the realised samples without.</summary>
    public void Apply(DeviceAggregate aggregate)
    {
        (double[] sum, double samples) = aggregate.Open();
        double divisor = _plan.IsPrivate ? _plan.Job.Training.Participation * _plan.Job.Devices : Math.Max(1, samples);
        TensorPrimitives.Divide(sum, divisor, sum);
        _optimizer.Step(Parameters, sum);
        Version++;
    }
}
